"""The flat MusicVAE: bidirectional encoder, latent vector, autoregressive decoder."""

from __future__ import annotations

import dataclasses
import functools
import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from magenta_lite.layers.sharding import in_row_shards
from magenta_lite.models.base import Draw, TrainableModel, logs_for_workers
from magenta_lite.models.music_vae.config import MusicVAEConfig, VAEObjective
from magenta_lite.models.music_vae.layers import BidirectionalEncoder, CategoricalDecoder
from magenta_lite.sampling import greedy, sample_categorical

tfd = tfp.distributions


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

    def __init__(self, depth: int, length: int, model, objective, dtype="float32", **kwargs):
        # The layers below follow the global dtype policy; draws and losses stay in float32.
        super().__init__(dtype=dtype, **kwargs)
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
        x = tf.one_hot(events, self.depth, dtype=self.encoder.compute_dtype)
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
