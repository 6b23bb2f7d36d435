"""The flat MusicVAE: bidirectional encoder, latent vector, autoregressive decoder."""

from __future__ import annotations

import dataclasses
import functools
import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from magenta_lite.layers.lstm import LSTM, lstm_cell
from magenta_lite.layers.sharding import in_row_shards
from magenta_lite.models.base import Draw, TrainableModel, logs_for_workers
from magenta_lite.models.music_vae.config import MusicVAEConfig, VAEObjective
from magenta_lite.sampling import greedy, sample_categorical

tfd = tfp.distributions


@keras.saving.register_keras_serializable("magenta_lite")
class BidirectionalEncoder(keras.layers.Layer):
    """Stacked bidirectional LSTM; gives the last layer's final outputs of both directions.

    Args:
        units: LSTM units of each layer, per direction.
        input_size: Input channels C.

    Call arguments:
        x: Float (T, B, C), time-major.
        length: Int32 (B,), how many steps of each example count. The backward direction starts
            at the last of them.

    Returns:
        Float (B, 2 * units[-1]): forward output after the last step, backward output after the
        first. Zeros where `length` is 0.
    """

    def __init__(self, units: tuple[int, ...], input_size: int, **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.input_size = input_size
        sizes = [input_size, *(2 * n for n in self.units[:-1])]
        self.forward_layers = [
            LSTM(n, size, name=f"forward_{i}")
            for i, (n, size) in enumerate(zip(self.units, sizes, strict=True))
        ]
        self.backward_layers = [
            LSTM(n, size, name=f"backward_{i}")
            for i, (n, size) in enumerate(zip(self.units, sizes, strict=True))
        ]
        self.built = True

    def call(self, x, length):
        for forward_layer, backward_layer in zip(
            self.forward_layers, self.backward_layers, strict=True
        ):
            forward = forward_layer(x)
            backward = backward_layer(_reverse(x, length))
            x = tf.concat([forward, _reverse(backward, length)], axis=-1)
        # Both directions have read everything after `length` steps of their own reading.
        last = tf.stack([tf.maximum(length - 1, 0), tf.range(tf.shape(length)[0])], axis=-1)
        final = tf.concat([tf.gather_nd(forward, last), tf.gather_nd(backward, last)], axis=-1)
        return tf.where(length[:, None] > 0, final, tf.zeros_like(final))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "input_size": self.input_size}


def _reverse(x, length):
    """Reverses the first `length` steps of time-major `x` (T, B, C)."""
    return tf.reverse_sequence(x, length, seq_axis=0, batch_axis=1)


@keras.saving.register_keras_serializable("magenta_lite")
class CategoricalDecoder(keras.layers.Layer):
    """Stacked LSTM that reads its previous event and the latent vector at every step.

    The latent vector also gives every layer's initial state through one tanh layer. The event
    before the first is a vector of zeros.

    Args:
        units: LSTM units of each layer.
        depth: Classes V of an event.
        latent_size: Width Z of the latent vector.
    """

    def __init__(self, units: tuple[int, ...], depth: int, latent_size: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units = tuple(units)
        self.depth = depth
        self.latent_size = latent_size
        self.initial_state = keras.layers.Dense(
            2 * sum(self.units),
            activation="tanh",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
            dtype="float32",
            name="initial_state",
        )
        self.initial_state.build((None, latent_size))
        self.layers = [
            LSTM(n, size, constant_size=latent_size if i == 0 else 0, name=f"lstm_{i}")
            for i, (n, size) in enumerate(zip(self.units, [depth, *self.units[:-1]], strict=True))
        ]
        self.output_projection = keras.layers.Dense(depth, name="output_projection")
        self.output_projection.build((None, self.units[-1]))
        self.built = True

    def initial_states(self, z):
        """Returns [(h, c), …] of float32 (B, U), one pair per layer, from z (B, Z)."""
        sizes = [n for n in self.units for _ in range(2)]
        parts = tf.split(self.initial_state(z), sizes, axis=-1)  # c0, h0, c1, h1, …
        return list(zip(parts[1::2], parts[::2], strict=True))

    def call(self, events, z):
        """Teacher forcing: the event that each step reads is given.

        Args:
            events: Int32 (T, B), what each step should give; step t reads event t - 1.
            z: Float (B, Z).

        Returns:
            Float32 (T, B, V), logits.
        """
        previous = tf.concat([-tf.ones_like(events[:1]), events[:-1]], axis=0)
        x = tf.one_hot(previous, self.depth, dtype=self.compute_dtype)  # -1 becomes zeros
        for i, (layer, state) in enumerate(zip(self.layers, self.initial_states(z), strict=True)):
            x = layer(x, constant=z if i == 0 else None, state=state)
        return tf.cast(self.output_projection(x), tf.float32)

    def decode(self, z, steps, choose):
        """Decodes step by step, each step reading the event chosen before.

        Args:
            z: Float (B, Z).
            steps: How many steps T; an int, so that the loop can be compiled.
            choose: Function of (t, logits float32 (B, V)) to the event int32 (B,) of step t.

        Returns:
            Events int32 (T, B) and logits float32 (T, B, V).
        """
        dense = self.output_projection
        weights = [
            *[layer.compute_weights() for layer in self.layers],
            [tf.cast(tf.convert_to_tensor(w), self.compute_dtype) for w in dense.weights],
        ]
        inputs = z, self.initial_states(z), weights
        # No gradient flows through a sample; a tape around this must not try.
        inputs = tf.nest.map_structure(tf.stop_gradient, inputs)
        decode = functools.partial(self._decode, steps=steps, choose=choose)
        if self.compute_dtype == "float32":  # see lstm_scan
            decode = tf.function(decode, jit_compile=True)
        return decode(*inputs)

    def _decode(self, z, states, weights, steps, choose):
        (kernel, first_recurrent, bias), *rest, (output_kernel, output_bias) = weights
        # Event V stands for the start and adds nothing, like a vector of zeros.
        event_kernel = tf.pad(kernel[: self.depth], [[0, 1], [0, 0]])
        every_step = tf.matmul(tf.cast(z, kernel.dtype), kernel[self.depth :]) + bias
        # One product for a layer's input together with its own last output.
        joined = [(tf.concat([k, r], axis=0), b) for k, r, b in rest]

        def step(t, event, states, events, logits):
            h, c = states[0]
            gates = tf.gather(event_kernel, event) + every_step + tf.matmul(h, first_recurrent)
            new_states = [lstm_cell(gates, c)]
            for (matrix, bias), (h, c) in zip(joined, states[1:], strict=True):
                below = new_states[-1][0]
                gates = tf.matmul(tf.concat([below, h], axis=-1), matrix) + bias
                new_states.append(lstm_cell(gates, c))
            step_logits = tf.matmul(new_states[-1][0], output_kernel) + output_bias
            step_logits = tf.cast(step_logits, tf.float32)
            event = choose(t, step_logits)
            return t + 1, event, new_states, events.write(t, event), logits.write(t, step_logits)

        states = [(tf.cast(h, kernel.dtype), c) for h, c in states]
        start = tf.fill([tf.shape(z)[0]], self.depth)
        arrays = (
            tf.TensorArray(tf.int32, size=steps, element_shape=start.shape),
            tf.TensorArray(tf.float32, size=steps, element_shape=[*start.shape, self.depth]),
        )
        *_, events, logits = tf.while_loop(
            lambda t, *_: t < steps, step, (0, start, states, *arrays)
        )
        return events.stack(), logits.stack()

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "depth": self.depth,
            "latent_size": self.latent_size,
        }


@keras.saving.register_keras_serializable("magenta_lite")
class MusicVAE(TrainableModel):
    """A variational autoencoder of short sequences of events.

    Implements the flat model of Roberts et al. (2018), https://arxiv.org/abs/1803.05428, sec. 3,
    as Magenta trains it: posterior N(mu, sigma²) from a bidirectional LSTM, prior N(0, I), an
    autoregressive LSTM decoder, free bits on the total KL divergence, an annealed KL weight and
    scheduled sampling.

    Shape letters: B batch, T steps (16ths), V classes of an event, Z latent size, N outputs.

    Args:
        depth: Classes V of an event.
        length: Steps T of a decoded sequence.
        model: Sizes; a `MusicVAEConfig` or its dict.
        objective: Loss; a `VAEObjective` or its dict.

    Call arguments:
        batch: A dict of `events` int (B, T), `length` int32 (B,), how many of them count, and,
            for draws that do not depend on who makes them, what `draws` names: `noise` float
            (B, Z), standard normal, and `uniforms` float (B, T, 2). Without these two the
            model draws its own.

    Returns:
        A dict of `mu`, `sigma`, `z` float32 (B, Z) and `logits` float32 (B, T, V).

    Differences from Magenta: validation reports teacher-forced and free-running numbers side by
    side (Magenta's evaluation is free-running whenever scheduled sampling is on); interpolation
    between equal ends gives the end instead of NaN.
    """

    def __init__(self, depth: int, length: int, model, objective, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.depth = depth
        self.length = length
        self.model_config = MusicVAEConfig(**model) if isinstance(model, dict) else model
        self.objective = VAEObjective(**objective) if isinstance(objective, dict) else objective
        latent_size = self.model_config.latent_size
        self.encoder = BidirectionalEncoder(self.model_config.encoder_units, depth, name="encoder")
        self.mu = self._posterior_head("mu")
        self.sigma = self._posterior_head("sigma", activation="softplus")
        self.decoder = CategoricalDecoder(
            self.model_config.decoder_units, depth, latent_size, name="decoder"
        )
        self.seed_generator = keras.random.SeedGenerator()
        names = ("reconstruction_nll", "nll_per_step", "kl", "kl_bits", "accuracy")
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.free_running = {
            name: keras.metrics.Mean(name=name)
            for name in ("free_running_nll_per_step", "free_running_accuracy")
        }
        self.built = True

    def _posterior_head(self, name: str, activation=None):
        head = keras.layers.Dense(
            self.model_config.latent_size,
            activation=activation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
            dtype="float32",
            name=name,
        )
        head.build((None, 2 * self.model_config.encoder_units[-1]))
        return head

    def draws(self) -> dict[str, Draw]:
        """Returns the random numbers that one example needs in training and validation."""
        return {
            "noise": Draw("normal", (self.model_config.latent_size,)),
            "uniforms": Draw("uniform", (self.length, 2)),
        }

    # The network ---------------------------------------------------------------------------

    def call(self, batch, training=False):
        noise, uniforms = self._draws_of(batch)
        forward = functools.partial(self._forward, training=training)
        return in_row_shards(forward, (batch["events"], batch["length"], noise, uniforms))

    def _forward(self, events, length, noise, uniforms, training):
        events = swap_axes(events)  # (T, B)
        mu, sigma = self._posterior_parameters(events, length)
        z = mu + sigma * noise
        fed = self._mix_in_samples(z, events, uniforms) if training else events
        logits = tf.transpose(self.decoder(fed, z), [1, 0, 2])
        return {"mu": mu, "sigma": sigma, "z": z, "logits": logits}

    def _posterior_parameters(self, events, length):
        x = tf.one_hot(events, self.depth, dtype=self.compute_dtype)
        # Steps past the end are zeros, not event 0.
        counts = tf.range(tf.shape(events)[0])[:, None] < length
        x *= tf.cast(counts, x.dtype)[..., None]
        code = tf.cast(self.encoder(x, length), tf.float32)
        return self.mu(code), self.sigma(code)

    def _draws_of(self, batch):
        """Returns noise (B, Z) and uniforms (B, T, 2): the batch's own or fresh ones."""
        if "noise" in batch:
            return batch["noise"], batch["uniforms"]
        size, steps = tf.unstack(tf.shape(batch["events"]))
        return (
            keras.random.normal((size, self.model_config.latent_size), seed=self.seed_generator),
            keras.random.uniform((size, steps, 2), seed=self.seed_generator),
        )

    def _mix_in_samples(self, z, events, uniforms):
        """Scheduled sampling (Bengio et al. 2015): some of the fed events are the model's own.

        What the decoder is fed fixes what it computes, and no gradient flows through a sample.
        So the events are chosen first, step by step, and the decoder then reads them as if given.
        """
        if self.objective.sampling_schedule == "constant" and self.objective.sampling_rate == 0:
            return events
        uniforms = tf.transpose(uniforms, [1, 0, 2])
        sampled = uniforms[..., 0] < self.sampling_probability()
        affected = tf.reduce_any(sampled[:-1], axis=0)  # the last event is never fed

        def mix(rows):
            """Returns the events of all rows; those of `rows` are decoded."""
            given, replaced, uniform = (
                tf.gather(x, rows, axis=1) for x in (events, sampled, uniforms[..., 1])
            )

            def choose(t, logits):
                return tf.where(replaced[t], sample_categorical(logits, uniform[t]), given[t])

            mixed, _ = self.decoder.decode(tf.gather(z, rows), events.shape[0], choose)
            every_row = tf.tensor_scatter_nd_update(
                swap_axes(events), rows[:, None], swap_axes(mixed)
            )
            return swap_axes(every_row)

        # While sampling is rare it touches few rows. Two sizes only: shapes stay known.
        rows = tf.argsort(tf.cast(affected, tf.int32), direction="DESCENDING")
        few = tf.shape(rows)[0] // 4
        mixed = tf.cond(
            tf.reduce_sum(tf.cast(affected, tf.int32)) <= few,
            lambda: mix(rows[:few]),
            lambda: mix(rows),
        )
        return tf.stop_gradient(mixed)

    # The objective -------------------------------------------------------------------------

    def _step(self):
        optimizer = getattr(self, "optimizer", None)  # missing before compile()
        return tf.cast(optimizer.iterations, tf.float32) if optimizer else 0.0

    def sampling_probability(self):
        """Returns the probability that the decoder is fed its own sample at this step."""
        rate, step = self.objective.sampling_rate, self._step()
        if self.objective.sampling_schedule == "constant":
            return rate
        if self.objective.sampling_schedule == "exponential":
            return 1 - tf.pow(rate, step)
        return tf.sigmoid(step / rate - math.log(rate))  # 1 - k / (k + exp(step / k))

    def beta(self):
        """Returns the weight of the KL term at this step."""
        return self.objective.max_beta * (1 - tf.pow(self.objective.beta_rate, self._step()))

    def prior(self) -> tfd.Distribution:
        """Returns N(0, I) over (Z,)."""
        zeros = tf.zeros([self.model_config.latent_size])
        return tfd.Independent(tfd.Normal(zeros, 1.0), 1)

    def loss_terms(self, batch, outputs):
        """Returns the parts of the loss, each float32 (B,), in nats unless said otherwise.

        Keys: `nll` summed over the steps that count, `kl`, `kl_cost` after free bits, and
        `correct`, how many of the steps that count have the right most probable event.
        """
        events = tf.cast(batch["events"], tf.int32)
        mask = tf.sequence_mask(batch["length"], tf.shape(events)[1], tf.float32)
        nll, correct = _compare(outputs["logits"], events, mask)
        posterior = _diagonal_normal(outputs["mu"], outputs["sigma"])
        kl = tfd.kl_divergence(posterior, self.prior())
        free_nats = self.objective.free_bits * math.log(2)
        return {
            "nll": nll,
            "kl": kl,
            "kl_cost": tf.maximum(kl - free_nats, 0.0),
            "correct": correct,
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the negative evidence lower bound, a mean over the batch `x`, in nats."""
        terms = self.loss_terms(x, y_pred)
        loss = tf.reduce_mean(terms["nll"]) + self.beta() * tf.reduce_mean(terms["kl_cost"])
        steps = tf.cast(x["length"], tf.float32)

        def per_step(value):
            return tf.math.divide_no_nan(value, steps)

        self.means["reconstruction_nll"].update_state(terms["nll"])
        self.means["nll_per_step"].update_state(per_step(terms["nll"]), sample_weight=steps)
        self.means["kl"].update_state(terms["kl"])
        self.means["kl_bits"].update_state(terms["kl"] / math.log(2))
        self.means["accuracy"].update_state(per_step(terms["correct"]), sample_weight=steps)
        return self.scale_loss(loss)

    def test_step(self, batch):
        """Adds to the teacher-forced numbers those of a decoder that is fed its own samples."""
        logs = super().test_step(batch)
        events = tf.cast(batch["events"], tf.int32)
        noise, uniforms = self._draws_of(batch)
        mu, sigma = self._posterior_parameters(swap_axes(events), batch["length"])

        def choose(t, logits):
            return sample_categorical(logits, uniforms[:, t, 1])

        _, logits = self.decoder.decode(mu + sigma * noise, events.shape[1], choose)
        mask = tf.sequence_mask(batch["length"], tf.shape(events)[1], tf.float32)
        nll, correct = _compare(tf.transpose(logits, [1, 0, 2]), events, mask)
        steps = tf.cast(batch["length"], tf.float32)
        for name, value in zip(self.free_running, (nll, correct), strict=True):
            per_step = tf.math.divide_no_nan(value, steps)
            self.free_running[name].update_state(per_step, sample_weight=steps)
        return logs | logs_for_workers({n: m.result() for n, m in self.free_running.items()})

    # Inference: dense tensors in and out, the same functions that are exported ---------------

    def encode(self, events, length):
        """Returns the posterior over z of events int (B, T) with `length` int32 (B,)."""
        mu, sigma = self._posterior_parameters(swap_axes(events), length)
        return _diagonal_normal(mu, sigma)

    def decode(self, z, seed, temperature):
        """Decodes latent vectors.

        Args:
            z: Float (B, Z).
            seed: Int scalar; the same seed gives the same events.
            temperature: Float scalar; 0 takes the most probable event of each step.

        Returns:
            Int32 (B, T).
        """
        temperature = tf.convert_to_tensor(temperature, tf.float32)
        uniforms = tf.random.stateless_uniform([tf.shape(z)[0], self.length], [seed, 1])
        uniforms = tf.transpose(uniforms)

        def choose(t, logits):
            return tf.cond(
                temperature > 0,
                lambda: sample_categorical(logits, uniforms[t], temperature),
                lambda: greedy(logits),
            )

        events, _ = self.decoder.decode(z, self.length, choose)
        return swap_axes(events)

    def sample(self, n, seed, temperature):
        """Returns `n` sequences, int32 (N, T), decoded from draws of the prior."""
        z = tf.random.stateless_normal([n, self.model_config.latent_size], [seed, 0])
        return self.decode(z, seed, temperature)

    def interpolate(self, start, end, num_steps, seed, temperature):
        """Decodes points between the posterior means of two sequences, both ends included.

        Args:
            start: Int (T,), events of the first sequence.
            end: Int (T,), events of the last.
            num_steps: Int scalar N, 2 or more.
            seed: Int scalar.
            temperature: Float scalar, see `decode`.

        Returns:
            Int32 (N, T).
        """
        ends = tf.stack([start, end])
        mu = self.encode(ends, tf.fill([2], tf.shape(ends)[1])).mean()
        return self.decode(slerp(mu[0], mu[1], num_steps), seed, temperature)

    def get_config(self):
        return {
            **super().get_config(),
            "depth": self.depth,
            "length": self.length,
            "model": dataclasses.asdict(self.model_config),
            "objective": dataclasses.asdict(self.objective),
        }


def swap_axes(events):
    """Returns int events (B, T) as int32 (T, B), or the other way round.

    By way of floats, which hold ids exactly: oneDNN logs an error when integers are transposed.
    """
    return tf.cast(tf.transpose(tf.cast(events, tf.float32)), tf.int32)


def slerp(start, end, num_steps):
    """Spherical interpolation that keeps the ends' own magnitudes.

    Args:
        start: Float (Z,).
        end: Float (Z,).
        num_steps: Int scalar N.

    Returns:
        Float (N, Z), from `start` to `end`. Parallel ends are interpolated on a straight line,
        which is the limit and never NaN.
    """
    t = tf.linspace(0.0, 1.0, num_steps)[:, None]
    cosine = tf.reduce_sum(tf.linalg.l2_normalize(start) * tf.linalg.l2_normalize(end))
    omega = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    straight = tf.abs(tf.sin(omega)) < 1e-6
    sine = tf.where(straight, 1.0, tf.sin(omega))
    arc = (tf.sin((1 - t) * omega) * start + tf.sin(t * omega) * end) / sine
    return tf.where(straight, (1 - t) * start + t * end, arc)


def _diagonal_normal(mu, sigma) -> tfd.Distribution:
    return tfd.Independent(tfd.Normal(mu, sigma), 1)


def _compare(logits, events, mask):
    """Sums NLL in nats and right guesses over masked steps: logits (B, T, V) to two (B,)."""
    nll = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=events, logits=logits)
    right = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), events), tf.float32)
    return tf.reduce_sum(nll * mask, axis=1), tf.reduce_sum(right * mask, axis=1)


def build(config, encoder) -> MusicVAE:
    """Returns the model that the `ExperimentConfig` describes, for `encoder`'s events."""
    return MusicVAE(
        depth=encoder.depth,
        length=encoder.window_steps,
        model=config.model,
        objective=config.objective,
    )
