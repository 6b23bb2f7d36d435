"""MusicVAE: a variational autoencoder with an LSTM encoder and an autoregressive LSTM decoder."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from magenta_lite.converters.base import EventFormat
from magenta_lite.families.music_vae import evaluation, generation, inference, inputs, stepping
from magenta_lite.families.music_vae.config import MusicVAEConfig, VAEObjective
from magenta_lite.families.music_vae.encoders import (
    near_zero_dense,
    segment_lengths,
    steps_mask,
    swap_axes,
)
from magenta_lite.families.music_vae.heads import make_head
from magenta_lite.families.music_vae.latent_space import AggregatedPosterior, check_prior, slerp
from magenta_lite.families.music_vae.networks import check_sizes, make_decoder, make_encoder
from magenta_lite.families.music_vae.options import MusicVAEOptions
from magenta_lite.graphs import inner_graph
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.sharding import in_row_shards
from magenta_lite.modeling.music_model import (
    COUNTED_EXAMPLES,
    MusicModel,
    RandomInput,
    logs_for_workers,
)
from magenta_lite.modeling.sampling import Sampler, draw_per_row, row_seeds
from magenta_lite.typing import Batch, Distribution, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.converter import Converter

tfd = tfp.distributions


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class MusicVAE(MusicModel):
    """A variational autoencoder of sequences of events.

    Implements Roberts et al. (2018), https://arxiv.org/abs/1803.05428, sec. 3, as Magenta trains
    it: posterior N(mu, sigma²) from a bidirectional or hierarchical LSTM encoder, prior N(0, I),
    an autoregressive LSTM decoder with or without a conductor, free bits on the total KL
    divergence, an annealed KL weight and scheduled sampling. GrooVAE (Gillick et al. 2019,
    https://arxiv.org/abs/1905.06118) and the multitrack model (Simon et al. 2018,
    https://arxiv.org/abs/1806.00195) are the same model with other events.

    Shape letters: B batch, T steps, E the event's own shape, P parameters of an event, Z latent
    size, S segments, N outputs.

    Args:
        events: Format of the events.
        length: Steps T of a decoded sequence.
        model: Sizes.
        objective: Loss.

    Call arguments:
        batch: A dict of `events` int (B, T, *E), float for grooves; `length` int32 (B,), the
            sequence lengths, or (B, S), the lengths of the segments; for events with chords
            `controls` int32 (B, T); and optionally the random numbers named by `random_inputs`:
            `noise` float (B, Z), standard normal, `uniforms` float (B, T, U), and `dropout` int32
            (B, 2), seeds.

    Returns:
        A dict of `mu`, `sigma`, `z` float32 (B, Z) and `logits` float32 (B, T, P).

    Differences from Magenta: validation reports both teacher-forced and free-running metrics
    (Magenta's evaluation is free-running whenever scheduled sampling is on); interpolation between
    equal ends gives the end instead of NaN; in decoding, as in training, a track of a bar does not
    read events after the end of the previous track; samples come from a Gaussian fitted to the
    posteriors of the training data, if there is a fit; with `model.expression_units` velocities and
    offsets of a groove come from a bidirectional LSTM over all of its hits, see `expression`.
    """

    Options = MusicVAEOptions
    metric_meanings = evaluation.MEANINGS
    attributes: ClassVar = {"events": "events_format", "model": "sizes"}

    def __init__(
        self,
        events: EventFormat,
        length: int,
        model: MusicVAEConfig,
        objective: VAEObjective,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.events_format, self.length = events, length
        self.sizes, self.objective = model, objective
        check_sizes(events, length, model)
        errors = objective.error_weight, model.expression_units > 0
        self.head = make_head(events, model.nade_units, self.dtype_policy, *errors)
        self.encoder = make_encoder(events, model, self.dtype_policy)
        shape = 2 * model.encoder_units[-1], model.latent_size
        self.mu = near_zero_dense("mu", *shape, stddev=model.mean_stddev)
        self.sigma = near_zero_dense("sigma", *shape, activation="softplus")
        self.decoder = make_decoder(events, length, model, self.head, self.dtype_policy)
        self.aggregated_posterior = AggregatedPosterior(
            model.latent_size, name="aggregated_posterior"
        )
        self.means = {
            name: keras.metrics.Mean(name=name)
            for name in ("reconstruction_nll", "nll_per_step", "kl", "kl_bits", *self._measures())
        }
        self.free_running = {
            name: keras.metrics.Mean(name=name)
            for name in ("free_running_nll_per_step", "free_running_accuracy")
        }
        # Attributes, so that they are traced and compiled once for all calls.
        self._moments_graph = inner_graph(self._moments, reduce_retracing=True)
        self._decode_graph = inner_graph(self._decode, reduce_retracing=True)
        self._perform_graph = inner_graph(self._perform, reduce_retracing=True)

    def _measures(self) -> list[str]:
        """Returns the names of the metrics of the head."""
        events = self.head.start(1)
        return list(self.head.measures(tf.zeros([1, self.head.parameter_size]), events))

    def random_inputs(self, training: bool = True) -> dict[str, RandomInput]:
        # The first uniform of a step decides whether scheduled sampling replaces its event.
        return {
            "noise": RandomInput("normal", (self.sizes.latent_size,)),
            "uniforms": RandomInput("uniform", (self.length, 1 + self.decoder.uniforms)),
            **(self._training_random_inputs() if training else {}),
        }

    def _training_random_inputs(self) -> dict[str, RandomInput]:
        return {
            **({"dropout": RandomInput("seed", (2,))} if self.sizes.dropout else {}),
            **inputs.random_inputs(self.events_format, self.length),
        }

    # The network ---------------------------------------------------------------------------

    def call(self, batch: Batch, training: bool = False) -> dict[str, Any]:
        batch = self.with_random_inputs(batch, training)
        widest = max(self.sizes.encoder_units + self.sizes.decoder_units)
        return in_row_shards(functools.partial(self._forward, training=training), batch, widest)

    def _forward(self, batch, training):
        events, controls = self._events(batch["events"]), self.conditioning(batch)
        lengths = self._segment_lengths(batch["length"], events)
        random = {name: batch[name] for name in self._training_random_inputs()} if training else {}
        dropout = Dropout(random["dropout"], self.sizes.dropout) if "dropout" in random else None
        mu, sigma = self._posterior_parameters(
            events, lengths, controls, dropout, random.get("hidden_notes")
        )
        z = mu + sigma * batch["noise"]
        fed = self._without_padding(events, lengths)
        if training and self._samples_in_training:
            fed = self.decoder.scheduled_sampling(
                fed, z, controls, swap_axes(batch["uniforms"]), self.sampling_probability()
            )
        logits = swap_axes(self.decoder(fed, z, controls, dropout=dropout, targets=events))
        return {"mu": mu, "sigma": sigma, "z": z, "logits": logits}

    def _events(self, events):
        """Returns events (B, T, *E) in the dtype of the head, (T, B, *E)."""
        return swap_axes(tf.cast(events, self.head.event_dtype))

    def conditioning(self, batch: Batch) -> Tensor | None:
        """Returns the controls of every step, float (T, B, C); None for events without controls."""
        events_format = self.events_format
        if not events_format.control:
            return None
        controls = batch.get("controls")
        if controls is None:  # hits are a part of the events
            controls = batch["events"][..., : events_format.sizes[0]]
        return inputs.control_vectors(events_format, swap_axes(controls), tf.float32)

    def _segment_lengths(self, length, events):
        """Returns the lengths of the segments: int32 (S, B)."""
        segments = self.events_format.segments
        if segments > 1 and len(length.shape) == 1:  # tracks of a bar have an end event
            is_end = tf.cast(tf.equal(events, self.events_format.end_id), tf.int32)
            by_segment = tf.reshape(is_end, [segments, self.length // segments, -1])
            first_end = tf.argmax(by_segment, axis=1, output_type=tf.int32)
            ended = tf.reduce_max(by_segment, axis=1) > 0
            return tf.where(ended, first_end + 1, self.length // segments)
        segments = length.shape[1] if len(length.shape) == 2 else self._lowest_segments
        return segment_lengths(length, segments, self.length // segments)

    @property
    def _lowest_segments(self) -> int:
        levels = self.sizes.encoder_levels
        return self.length // levels[0] if levels else self.sizes.segments

    def _without_padding(self, events, lengths):
        """Replaces padding by start events."""
        start = self.head.start(tf.shape(events)[1])
        return tf.where(self._counts(events, lengths), events, start[None])

    def _counts(self, events, lengths):
        """Returns the mask of steps that count, bool (T, B, ...) with as many axes as `events`."""
        counts = steps_mask(lengths, self.length // lengths.shape[0])
        return tf.reshape(counts, [*tf.unstack(tf.shape(counts)), *[1] * (len(events.shape) - 2)])

    def _posterior_parameters(self, events, lengths, controls, dropout=None, hidden_notes=None):
        dtype = self.encoder.compute_dtype
        x = inputs.network_input(self.events_format, events, self.head, dtype, hidden_notes)
        if controls is not None:
            x = tf.concat([x, tf.cast(controls, dtype)], axis=-1)
        # Padding is read as zeros, not as event 0.
        x *= tf.cast(self._counts(x, lengths), dtype)
        if self.sizes.encoder_levels:
            code = self.encoder(x, lengths)
        else:
            code = self.encoder(x, tf.reduce_sum(lengths, axis=0), dropout=dropout)
        code = tf.cast(code, tf.float32)
        return self.mu(code), self.sigma(code)

    # The objective -------------------------------------------------------------------------

    def _step(self):
        optimizer = getattr(self, "optimizer", None)  # missing before compile()
        return tf.cast(optimizer.iterations, tf.float32) if optimizer else 0.0

    @property
    def _samples_in_training(self) -> bool:
        objective = self.objective
        return objective.sampling_schedule != "constant" or objective.sampling_rate > 0

    def sampling_probability(self) -> Tensor:
        """Returns the probability of scheduled sampling at the current training step."""
        rate, step = self.objective.sampling_rate, self._step()
        if self.objective.sampling_schedule == "constant":
            return rate
        if self.objective.sampling_schedule == "exponential":
            return 1 - tf.pow(rate, step)
        return tf.sigmoid(step / rate - math.log(rate))  # 1 - k / (k + exp(step / k))

    def beta(self) -> Tensor:
        """Returns the weight of the KL term at the current training step."""
        return self.objective.max_beta * (1 - tf.pow(self.objective.beta_rate, self._step()))

    def prior(self) -> Distribution:
        """Returns N(0, I) over (Z,)."""
        zeros = tf.zeros([self.sizes.latent_size])
        return tfd.Independent(tfd.Normal(zeros, 1.0), 1)

    def loss_terms(self, batch: Batch, outputs: dict[str, Any]) -> dict[str, Tensor]:
        """Returns the terms of the loss, float32 (B,) each, in nats.

        Keys: `nll`, summed over the steps; `kl`; `kl_cost`, the KL divergence above the free bits;
        and `steps`, the number of steps that count.
        """
        events, counts = self.targets(batch)
        nll = tf.reduce_sum(self.head.nll(swap_axes(outputs["logits"]), events) * counts, axis=0)
        posterior = _diagonal_normal(outputs["mu"], outputs["sigma"])
        kl = tfd.kl_divergence(posterior, self.prior())
        free_nats = self.objective.free_bits * math.log(2)
        return {
            "nll": nll,
            "kl": kl,
            "kl_cost": tf.maximum(kl - free_nats, 0.0),
            "steps": tf.reduce_sum(counts, axis=0),
        }

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns events (T, B, *E) and the mask of those that count, float32 (T, B)."""
        events = self._events(batch["events"])
        lengths = self._segment_lengths(batch["length"], events)
        return events, tf.cast(steps_mask(lengths, self.length // lengths.shape[0]), tf.float32)

    def measures(self, batch: Batch, logits: Tensor) -> dict:
        """Returns the metrics of the head as pairs (value, weight), float32 (T, B) each.

        `accuracy` is that of the most probable event; see `heads` for others.
        """
        events, counts = self.targets(batch)
        pairs = self.head.measures(swap_axes(logits), events)
        return {name: (value, weight * counts) for name, (value, weight) in pairs.items()}

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the mean negative evidence lower bound of the batch, in nats."""
        terms = self.loss_terms(batch, outputs)
        loss = tf.reduce_mean(terms["nll"]) + self.beta() * tf.reduce_mean(terms["kl_cost"])
        self.means["reconstruction_nll"].update_state(terms["nll"])
        per_step = tf.math.divide_no_nan(terms["nll"], terms["steps"])
        self.means["nll_per_step"].update_state(per_step, sample_weight=terms["steps"])
        self.means["kl"].update_state(terms["kl"])
        self.means["kl_bits"].update_state(terms["kl"] / math.log(2))
        for name, (value, weight) in self.measures(batch, outputs["logits"]).items():
            self.means[name].update_state(value, sample_weight=weight)
        return loss

    def majority_accuracy(self, examples: Any) -> float:
        rows = slice(COUNTED_EXAMPLES)
        batch = {"events": examples.events[rows], "length": tf.constant(examples.lengths[rows])}
        events, counts = self.targets(batch)
        return self.head.majority_accuracy(events.numpy()[counts.numpy() > 0])

    def in_words(self, measured: Mapping[str, float], majority: float | None = None) -> list[str]:
        # The loss is that of a whole example, with an annealed KL weight.
        return super().in_words({**measured, "loss": measured["nll_per_step"]}, majority)

    def test_step(self, batch: Batch) -> dict[str, Tensor]:
        """Adds free-running metrics to the teacher-forced ones."""
        batch = self.with_random_inputs(batch, training=False)
        logs = super().test_step(batch)
        events, counts = self.targets(batch)
        posterior = self.encode(batch["events"], batch["length"], batch.get("controls"))
        z = posterior.mean() + posterior.stddev() * batch["noise"]
        logits = self.free_running_logits(z, batch)
        nll = tf.reduce_sum(self.head.nll(swap_axes(logits), events) * counts, axis=0)
        steps = tf.reduce_sum(counts, axis=0)
        accuracy, weight = self.measures(batch, logits)["accuracy"]
        self.free_running["free_running_nll_per_step"].update_state(
            tf.math.divide_no_nan(nll, steps), sample_weight=steps
        )
        self.free_running["free_running_accuracy"].update_state(accuracy, sample_weight=weight)
        return logs | logs_for_workers({n: m.result() for n, m in self.free_running.items()})

    def free_running_logits(self, z: Tensor, batch: Batch) -> Tensor:
        """Returns logits (B, T, P) of free-running decoding of z (B, Z).

        The batch contains the `uniforms` of sampling, and the events or controls.
        """
        uniforms = swap_axes(batch["uniforms"])[..., 1:]
        choose = self.decoder.choose_with(uniforms, Sampler())
        return swap_axes(self.decoder.decode(z, choose, self.conditioning(batch))[1])

    # Inference: dense tensors in and out, the same functions that are exported ---------------

    def encode(
        self, events: Tensor, length: Tensor, controls: Tensor | None = None
    ) -> Distribution:
        """Returns the posterior over z, a distribution over (Z,) for each example.

        The arguments are those of the call: events (B, T, *E), lengths int32 (B,) or (B, S), and
        for events with chords the chord classes int32 (B, T).
        """
        batch = {"events": events, "controls": controls}
        events = self._events(events)
        lengths = self._segment_lengths(length, events)
        mu, sigma = self._posterior_parameters(events, lengths, self.conditioning(batch))
        return _diagonal_normal(mu, sigma)

    def _moments(self, batch):
        """Returns means and standard deviations of the posteriors of a batch."""
        posterior = self.encode(**batch)
        return posterior.mean(), posterior.stddev()

    def decode(
        self, z: Tensor, seed: Any, controls: Tensor | None = None, **settings: Any
    ) -> Tensor:
        """Decodes latent vectors (B, Z) to events (B, T, *E), int32, or float32 for grooves.

        Args:
            z: Float (B, Z).
            seed: Int scalar; the same seed gives the same events. Or (B,), that of each row, which
                is then the first row of a call with this seed.
            controls: Chord classes int32 (T,) or hits float (T, D), the same for all rows, for
                events with controls.
            settings: The settings of a `Sampler`, by name.
        """
        sampler, rows = Sampler(**settings).tensors(), tf.shape(z)[0]
        uniforms = self.uniforms(rows, seed)
        return self._decode_graph(z, uniforms, sampler, self.repeated(controls, rows))

    def _decode(self, z, uniforms, sampler, controls):
        choose = self.decoder.choose_with(uniforms, sampler)
        return swap_axes(self.decoder.decode(z, choose, controls)[0])

    def perform(self, z: Tensor, hits: Tensor) -> Tensor:
        """Decodes latent vectors (B, Z) to grooves with given hits: float32 (B, T, 3 * D).

        Only velocities and offsets are the model's. Hits are float (B, T, D), 0 or 1.
        """
        return self._perform_graph(z, tf.cast(hits, tf.float32))

    def _perform(self, z, hits):
        hits = swap_axes(hits)
        controls = hits if self.events_format.control == "hits" else None
        return swap_axes(self.decoder.perform(z, hits, controls))

    def noise(self, rows: Any, seed: Any) -> Tensor:
        """Returns standard normal noise float32 (B, Z) of B = `rows` rows.

        The seed is that of `decode`, as it is of `uniforms`.
        """
        return _drawn(tf.random.stateless_normal, rows, [self.sizes.latent_size], seed, 0)

    def uniforms(self, rows: Any, seed: Any) -> Tensor:
        """Returns uniforms float32 (T, B, U) that draw the events of B = `rows` rows."""
        shape = [self.decoder.uniforms, self.length]
        drawn = _drawn(tf.random.stateless_uniform, rows, shape, seed, 1)
        return tf.transpose(drawn, [2, 0, 1])

    def repeated(self, controls: Tensor | None, rows: Any) -> Tensor | None:
        """Returns the controls of `decode` for B = `rows` rows: float (T, B, C), or None."""
        form = self.events_format
        vectors = inputs.control_vectors(form, controls, tf.float32) if form.control else None
        return None if vectors is None else tf.repeat(vectors[:, None], rows, axis=1)

    def sample(
        self,
        n: Any,
        seed: Any,
        controls: Tensor | None = None,
        prior: str = "data",
        **settings: Any,
    ) -> Tensor:
        """Returns `n` sequences (N, T, *E), decoded from samples of a prior of `latents`.

        The other arguments are those of `decode`.
        """
        z = self.latents(self.noise(n, seed), prior)
        return self.decode(z, seed, controls, **settings)

    def sample_rows(self, seed: Tensor, sampler: Sampler, controls: Tensor | None = None) -> Tensor:
        """Returns a sequence (N, T, *E) for each of N seeds, independent of the others.

        Row n is the first output of `sample` with its seed.

        Args:
            seed: Int32 (N,).
            sampler: Settings (N,).
            controls: Chord classes int32 (N, T) or hits float (N, T, D), for events with controls.
        """
        rows, vectors = tf.size(seed), None
        if controls is not None:
            vectors = inputs.control_vectors(self.events_format, swap_axes(controls), tf.float32)
        z = self.latents(self.noise(rows, seed))
        return self._decode(z, self.uniforms(rows, seed), sampler.tensors(), vectors)

    def latents(self, noise: Tensor, prior: str = "data") -> Tensor:
        """Transforms standard normal noise (..., Z) to samples of a prior, float (..., Z).

        The prior is `data`, the Gaussian fitted to the posteriors of the training data, which is
        N(0, I) without a fit, as in an imported model; or `standard`, N(0, I).
        """
        check_prior(prior)
        return noise if prior == "standard" else self.aggregated_posterior(noise)

    def before_checkpoint(self, examples: Any) -> None:
        """Fits the prior of `sample` to the posteriors of the training split."""
        self.aggregated_posterior.fit(self._moments_graph, examples)

    def interpolate(
        self,
        start: Tensor,
        end: Tensor,
        num_steps: Any,
        seed: Any,
        controls: Any = None,
        **settings: Any,
    ) -> Tensor:
        """Decodes points between the posterior means of two sequences (T, *E): (N, T, *E).

        Both ends are among the N = `num_steps` points, at least two, and are encoded with the
        controls. The other arguments are those of `decode`.
        """
        ends = tf.stack([start, end])
        chords = None
        if self.events_format.control == "chords":
            chords = tf.repeat(controls[None], 2, axis=0)
        mu = self.encode(ends, tf.fill([2], self.length), chords).mean()
        return self.decode(slerp(mu[0], mu[1], num_steps), seed, controls, **settings)

    # The contract of a family ------------------------------------------------------------

    generate = generation.generate
    measure = evaluation.measure
    samples = evaluation.samples
    signatures = inference.signatures
    signature_arguments = inference.signature_arguments
    row_signature = inference.row_signature
    row_arguments = inference.row_arguments
    step_functions = stepping.step_functions

    @classmethod
    def for_config(cls, config: ExperimentConfig, converter: Converter, **kwargs: Any) -> Self:
        events, length = config.model.input_format(converter.event_format), converter.window_steps
        return cls(events, length, config.model, config.objective, **kwargs)


def _drawn(draw: Any, rows: Any, shape: list[int], seed: Any, number: int) -> Tensor:
    """Returns random numbers (B, *shape) of `seed` and `number`; the seed is one, or (B,)."""
    seed = tf.cast(seed, tf.int32)
    if seed.shape.rank:
        return draw_per_row(draw, row_seeds(seed, number), shape)
    return draw([rows, *shape], [seed, number])


def _diagonal_normal(mu, sigma) -> Distribution:
    return tfd.Independent(tfd.Normal(mu, sigma), 1)
