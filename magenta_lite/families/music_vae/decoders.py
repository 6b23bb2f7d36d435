"""Decoder networks: from a latent vector to a sequence of events."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.families.music_vae.decoder_lstms import Conductor, LSTMDecoder
from magenta_lite.families.music_vae.encoders import (
    from_segments,
    swap_axes,
    to_segments,
)
from magenta_lite.families.music_vae.expression import Expression
from magenta_lite.graphs import inner_graph
from magenta_lite.layers.base import Layer
from magenta_lite.layers.dropout import Dropout
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import Tensor


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class Decoder(Layer):
    """A flat or hierarchical decoder, with one core for all parts of the events or one for each.

    With a conductor the T steps are divided into S segments. The state of each segment starts from
    its own code; only the last event of the previous segment is passed on.

    Args:
        cores: `LSTMDecoder`s; if there are several, one for each part of the events.
        length: Sequence length T.
        conductor: Returns the codes of segments; None for one segment, whose code is z.
        end_id: The class that ends a segment; padding follows.
        expression: Computes velocities and offsets of a groove, of which the core decodes the hits;
            None for events that the cores decode completely.
    """

    def __init__(
        self,
        cores: Sequence[LSTMDecoder],
        length: int,
        conductor: Conductor | None = None,
        end_id: int | None = None,
        expression: Expression | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.cores = list(cores)
        self.conductor = conductor
        self.segments = conductor.steps if conductor else 1
        self.length = length
        self.end_id = end_id
        self.expression = expression

    @property
    def segment_steps(self) -> int:
        """Steps of a segment."""
        return self.length // self.segments

    @property
    def uniforms(self) -> int:
        """Random numbers in [0, 1) that sampling one step takes."""
        return sum(core.head.uniforms for core in self.cores)

    def codes(self, z: Tensor) -> Tensor:
        """Returns float32 (S, B, K), the code of each segment, from z (B, Z)."""
        return self.conductor(z) if self.conductor else z[None]

    def part(self, events: Tensor, k: int) -> Tensor:
        """Returns the part of events (..., parts) that belongs to core `k`."""
        return events if len(self.cores) == 1 else events[..., k]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Returns the events of all cores, in order, as one tensor."""
        return parts[0] if len(parts) == 1 else tf.stack(parts, axis=-1)

    def previous(self, events: Tensor) -> Tensor:
        """Returns for each step of `events` (T, B, …) the event before it."""
        return tf.concat([self.start(tf.shape(events)[1])[None], events[:-1]], axis=0)

    def start(self, rows: Any) -> Tensor:
        """Returns the start events (B, …) of B = `rows` sequences."""
        return self.join([core.head.start(rows) for core in self.cores])

    def call(
        self,
        events: Tensor,
        z: Tensor,
        controls: Tensor | None = None,
        dropout: Dropout | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Decodes with teacher forcing; step t reads event t - 1.

        Args:
            events: (T, B, …), those that are read.
            z: Float (B, Z).
            controls: Float (T, B, C), or None.
            dropout: As of `LSTMDecoder.call`.
            targets: (T, B, …), those that get velocities and offsets; by default `events`.

        Returns:
            Float32 (T, B, P), the concatenated parameters of all cores, or those of a groove.
        """
        code, previous, controls = self._segmented(z, events, controls)
        of_rows = dropout and dropout.in_segments(self.segments)
        each = [
            core(self.part(previous, k), code, controls, dropout=of_rows)
            for k, core in enumerate(self.cores)
        ]
        parameters = from_segments(tf.concat(each, axis=-1), self.segments)
        if self.expression is None:
            return parameters
        return self.expression(
            events if targets is None else targets, parameters, z, dropout=dropout
        )

    def _segmented(self, z, events, controls):
        """Returns the codes (S * B, K), previous events and controls of separate segments."""
        codes, previous = self.codes(z), to_segments(self.previous(events), self.segments)
        controls = None if controls is None else to_segments(controls, self.segments)
        return tf.reshape(codes, [-1, codes.shape[-1]]), previous, controls

    # Step by step --------------------------------------------------------------------------

    def decode(
        self,
        z: Tensor,
        choose: Callable[[Any, int, Tensor], Tensor],
        controls: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decodes autoregressively.

        Always in float32 and compiled, which is faster on CPUs than bfloat16, see `lstm_scan`.

        Args:
            z: Float (B, Z).
            choose: Function from (t, k, parameters float32 (B, P)) to the events (B, …) of core k.
            controls: Float (T, B, C), or None.

        Returns:
            Events (T, B, …) and parameters float32 (T, B, P).
        """
        first = self.start(tf.shape(z)[0])
        events, parameters = self.decode_codes(self.codes(z), first, choose, controls)
        if self.expression is None:
            return events, parameters
        return self.expression.complete(events, parameters, z)

    def perform(self, z: Tensor, hits: Tensor, controls: Tensor | None = None) -> Tensor:
        """Decodes grooves with given hits, float (T, B, D): float32 (T, B, 3 * D).

        The other arguments are those of `decode`.
        """
        (core,) = self.cores

        def keep_hits(t: Any, k: int, parameters: Tensor) -> Tensor:
            return core.head.with_hits(parameters, hits[t])

        return self.decode(z, keep_hits, controls)[0]

    def decode_codes(
        self,
        codes: Tensor,
        first: Tensor,
        choose: Callable[[Any, int, Tensor], Tensor],
        controls: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Runs the cores as `decode` does, for the codes float (S, B, K) of any number of segments.

        `first` (B, …) is the event before the first step.
        """
        steppers = [core.stepper(tf.cast(codes, tf.float32)) for core in self.cores]
        controls = [] if controls is None else [tf.cast(controls, tf.float32)]
        # No gradient flows through samples.
        inputs = tf.nest.map_structure(tf.stop_gradient, (steppers, first, controls))
        run = functools.partial(self._decode, choose=choose)
        return inner_graph(run, jit_compile=True)(*inputs)

    def _decode(self, steppers, first, controls, choose):
        initial = [states for states, _ in steppers]
        prepared = [
            core.prepare(tensors) for core, (_, tensors) in zip(self.cores, steppers, strict=True)
        ]
        segments = initial[0][0][0].shape[0]
        steps = segments * self.segment_steps
        rows = tf.shape(first)[0]

        def step(t, previous, ended, states, events, parameters):
            controls_now = controls[0][t] if controls else None
            padded, event, ended, states, values = self.step(
                prepared, initial, t, previous, ended, states, controls_now, choose
            )
            parameters = [array.write(t, x) for array, x in zip(parameters, values, strict=True)]
            return t + 1, event, ended, states, events.write(t, padded), parameters

        shapes = [[first.shape[0], core.head.parameter_size] for core in self.cores]
        events = tf.TensorArray(first.dtype, size=steps, element_shape=first.shape)
        parameters = [tf.TensorArray(tf.float32, size=steps, element_shape=s) for s in shapes]
        states = [[(h[0], c[0]) for h, c in pairs] for pairs in initial]
        start = (0, first, tf.zeros([rows], bool), states, events, parameters)
        *_, events, parameters = tf.while_loop(lambda t, *_: t < steps, step, start)
        return events.stack(), tf.concat([array.stack() for array in parameters], axis=-1)

    def step(
        self,
        prepared: Sequence[Any],
        initial: Sequence[Any],
        t: Tensor,
        previous: Tensor,
        ended: Tensor,
        states: Sequence[Any],
        controls: Tensor | None,
        choose: Callable[[Any, int, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, list, list[Tensor]]:
        """Decodes one step.

        Args:
            prepared: For each core the result of its `prepare`.
            initial: For each core the initial states [(h, c), …] of (S, B, U) of S segments.
            t: Int scalar, index of the step.
            previous: (B, …), the event that is read.
            ended: Bool (B,), whether the segment has ended.
            states: For each core its states [(h, c), …].
            controls: Float (B, C), or None.
            choose: That of `decode`.

        Returns:
            The event (B, …), 0 after the end of its segment; the event that the next step reads;
            `ended` and `states` after the step; and the parameters of each core.
        """
        segment = t // self.segment_steps
        fresh = t % self.segment_steps == 0
        ended &= ~fresh
        chosen, new_states, parameters = [], [], []
        for k, core in enumerate(self.cores):
            start = [(h[segment], c[segment]) for h, c in initial[k]]
            state = tf.nest.map_structure(lambda a, b: tf.where(fresh, a, b), start, states[k])
            values, state = core.step(prepared[k], segment, self.part(previous, k), state, controls)
            new_states.append(state)
            parameters.append(values)
            chosen.append(choose(t, k, values))
        event = self.join(chosen)
        padded = event
        if self.end_id is not None:
            # As in training: after its end a segment is padded, and the decoder reads -1.
            padded, event = tf.where(ended, 0, event), tf.where(ended, -1, event)
            ended |= event == self.end_id
        return padded, event, ended, new_states, parameters

    def choose_with(
        self, uniforms: Tensor, sampler: Sampler | None = None
    ) -> Callable[[Any, int, Tensor], Tensor]:
        """Returns a function for `decode` that draws events with `uniforms` (T, B, U) in [0, 1).

        The sampler is by default that of scheduled sampling.
        """
        ends = list(itertools.accumulate(core.head.uniforms for core in self.cores))

        def choose(t: Any, k: int, parameters: Tensor) -> Tensor:
            head = self.cores[k].head
            mine = uniforms[t][:, ends[k] - head.uniforms : ends[k]]
            return head.choose(parameters, mine, sampler or head.scheduled_sampler)

        return choose

    def scheduled_sampling(
        self,
        events: Tensor,
        z: Tensor,
        controls: Tensor | None,
        uniforms: Tensor,
        probability: Tensor,
    ) -> Tensor:
        """Replaces inputs of the decoder by its own samples: scheduled sampling.

        Bengio et al. (2015), https://arxiv.org/abs/1506.03099. No gradient flows through samples,
        so that the events can be sampled first, and then be read with teacher forcing. Segments
        depend on one another only by the last event of the previous one, which is never replaced,
        so that they are decoded in parallel.

        The arguments are those of the call, and `uniforms` float (T, B, 1 + U) in [0, 1), the first
        of which decides with `probability` on the replacement.

        Returns:
            Events (T, B, …) for teacher forcing.
        """
        codes, previous, controls = self._segmented(z, events, controls)
        uniforms, given = (to_segments(x, self.segments) for x in (uniforms, events))
        sampled = uniforms[..., 0] < probability
        affected = tf.reduce_any(sampled[:-1], axis=0)  # the last event of a segment stays

        def mix(rows):
            """Returns the events of all rows, with samples in `rows`."""
            part, replaced, uniform = (
                tf.gather(x, rows, axis=1) for x in (given, sampled, uniforms[..., 1:])
            )
            draw = self.choose_with(uniform)

            def choose(t: Any, k: int, parameters: Tensor) -> Tensor:
                drawn, original = draw(t, k, parameters), self.part(part[t], k)
                take = tf.reshape(replaced[t], [-1, *[1] * (len(drawn.shape) - 1)])
                return tf.where(take, drawn, original)

            mixed, _ = self.decode_codes(
                tf.gather(codes, rows)[None],
                tf.gather(previous[0], rows),
                choose,
                None if controls is None else tf.gather(controls, rows, axis=1),
            )
            every_row = tf.tensor_scatter_nd_update(
                swap_axes(given), rows[:, None], swap_axes(mixed)
            )
            return swap_axes(every_row)

        # While sampling is rare it affects few rows. There are two sizes, for static shapes.
        rows = tf.argsort(tf.cast(affected, tf.int32), direction="DESCENDING")
        few = tf.shape(rows)[0] // 4
        mixed = tf.cond(
            tf.reduce_sum(tf.cast(affected, tf.int32)) <= few,
            lambda: mix(rows[:few]),
            lambda: mix(rows),
        )
        return tf.stop_gradient(from_segments(mixed, self.segments))
