"""The VQ-VAE of sound, with codes at several rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.families.vqvae import evaluation, generation, inference, losses, stepping
from magenta_lite.families.vqvae.config import VQVAEConfig, VQVAEObjective
from magenta_lite.families.vqvae.convolutions import Decoder, Encoder
from magenta_lite.families.vqvae.options import VQVAEOptions
from magenta_lite.families.vqvae.quantizer import Quantizer
from magenta_lite.modeling.music_model import MusicModel, RandomInput
from magenta_lite.typing import Batch, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.audio import AudioConverter

MEASURED_SECONDS = 600  # of sound, for the normalisation constants
LEAST_BANDWIDTH = 1e-8  # smallest normalisation constant of data that are not silent


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class VQVAE(MusicModel):
    """Vector-quantized autoencoders of sound, one for each level.

    The VQ-VAE of Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §3), whose
    codebooks are learned by moving averages. The levels are independent autoencoders of the sound.

    Shape letters: B batch, T samples, C channels, S codes = T / hop length, N quantizers.

    Differences from the original: the moving averages of the codebooks are weights, so that a
    resumed run equals an uninterrupted one; random rows depend on the seeds of the examples.

    Args:
        model: Sizes of the network.
        objective: Weights of the losses.
        crop: Length of a training example in samples; 0 if lengths differ.
        sample_rate: Sample rate in Hz.

    Call arguments:
        batch: A dict of `events` (B, T, C), the sound, float in [-1, 1) or 16-bit integers; and
            optionally the random numbers named by `random_inputs`. T is a multiple of the last
            level's hop length.

    Returns:
        A dict of `sound`, float32 (B, T, C) of each level, and `quantized`, a `Quantized` of each.
    """

    Options = VQVAEOptions
    metric_meanings = evaluation.MEANINGS

    def __init__(
        self,
        model: VQVAEConfig,
        objective: VQVAEObjective,
        crop: int = 0,
        sample_rate: int = 44100,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.sizes, self.objective = model, objective
        self.crop, self.sample_rate = crop, sample_rate
        levels, dtype = range(model.levels), self.dtype_policy
        self.encoders = [Encoder(model, i, name=f"encoder_{i}", dtype=dtype) for i in levels]
        self.quantizers = [Quantizer(model, name=f"quantizer_{i}") for i in levels]
        self.decoders = [Decoder(model, i, name=f"decoder_{i}", dtype=dtype) for i in levels]
        # The fields of `losses.Bandwidth`.
        self.bandwidth = self.add_weight(
            shape=(3,),
            initializer="ones",
            trainable=False,
            aggregation="only_first_replica",
            name="bandwidth",
        )
        self.tracked = {name: keras.metrics.Mean(name=name) for name in self._metric_names()}

    def _metric_names(self) -> list[str]:
        names = ["spectral_convergence", "reconstruction", "commitment", "fit", "prenorm", "change"]
        each = ("multi_spectral", "perplexity", "used", "alive")
        return names + [f"{name}_{i}" for i in range(self.sizes.levels) for name in each]

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Hop length of each level in samples, the finest first."""
        return self.sizes.hop_lengths

    def random_inputs(self, training: bool = True) -> dict[str, RandomInput]:
        """Returns the seed of the codebooks, and the numbers for quantizer dropout."""
        if not training:
            return {}
        dropout = {"kept": RandomInput("uniform", (2,))} if self.sizes.quantizer_dropout else {}
        return {"codebook": RandomInput("seed", (2,))} | dropout

    # The network ---------------------------------------------------------------------------

    def call(self, batch: Batch, training: bool = False) -> dict[str, list]:
        batch = self.with_random_inputs(batch, training)
        sound = losses.sound_of(batch["events"])
        self._check_length(sound)
        kept = self._kept(batch["kept"]) if training and "kept" in batch else None
        sounds, quantized = [], []
        for i, quantizer in enumerate(self.quantizers):
            x = tf.cast(self.encoders[i](sound), tf.float32)
            choices = quantizer.draw_choices(x.shape, batch["codebook"], i) if training else None
            coded = quantizer(x, training=training, choices=choices, kept=kept)
            sounds.append(tf.cast(self.decoders[i](coded.vectors), tf.float32))
            quantized.append(coded)
        return {"sound": sounds, "quantized": quantized}

    def _kept(self, drawn):
        """Returns the number of quantizers of each example, int32 (B,), for uniforms (B, 2)."""
        count = self.sizes.quantizers
        some = 1 + tf.cast(drawn[:, 1] * count, tf.int32)
        return tf.where(drawn[:, 0] < self.sizes.quantizer_dropout, some, count)

    def _check_length(self, sound) -> None:
        hop, samples = self.hop_lengths[-1], sound.shape[1]
        if samples is None:
            message = f"The number of samples must be a multiple of {hop}"
            tf.debugging.assert_equal(tf.shape(sound)[1] % hop, 0, message)
            return
        if samples and samples % hop == 0:
            return
        near = max(round(samples / hop), 1) * hop
        raise UserError(
            f"{samples} samples do not divide into codes of {hop} samples each; trim or pad the "
            f"sound to a multiple of {hop}, e.g. {near}"
        )

    def encode(self, sound: Tensor) -> list:
        """Returns the codes int32 (B, S), or (B, S, N), of each level, the finest first.

        The sound (B, T, C) is float in [-1, 1) or 16-bit integers.

        Raises:
            UserError: If T is not a multiple of the last level's hop length.
        """
        return [self.encode_level(sound, level) for level in range(self.sizes.levels)]

    def encode_level(self, sound: Tensor, level: int) -> Tensor:
        """Returns the codes of one level; see `encode`."""
        sound = losses.sound_of(sound)
        self._check_length(sound)
        return self.quantizers[level](self.encoders[level](sound)).codes

    def decode(self, codes: Tensor, level: int) -> Tensor:
        """Returns the sound float32 (B, T, C) of one level's codes, not clipped to [-1, 1].

        Args:
            codes: Int (B, S); of several quantizers (B, S, n) with the first n of N.
            level: Level of the codes; 0 is the finest.
        """
        vectors = self.quantizers[level].look_up(codes)
        return tf.cast(self.decoders[level](vectors), tf.float32)

    def reconstruct(self, sound: Tensor) -> list:
        """Returns the reconstructions float32 (B, T, C) of a sound (B, T, C) by all levels."""
        return [self.decode(codes, level) for level, codes in enumerate(self.encode(sound))]

    # The objective -------------------------------------------------------------------------

    def prepare(self, step: int, examples: Any, seed: int) -> None:
        """Sets the normalisation constants of the losses before the first step.

        They are measured on evenly spaced clips of the training split, `MEASURED_SECONDS` in all.
        The events of `examples`, the training split, are sounds (N, T, C).

        Raises:
            UserError: If all sounds are silent.
        """
        del seed
        if step:
            return
        events = examples.events
        crop = self.crop or events.shape[1]
        # Examples shorter than a crop count with their padding.
        counts = np.maximum(np.asarray(examples.lengths, np.int64) // crop, 1)
        ends = np.cumsum(counts)
        total = int(ends[-1])
        wanted = max(MEASURED_SECONDS * self.sample_rate // (crop * events.shape[2]), 1)
        chosen = np.linspace(0, total - 1, min(wanted, total)).astype(int)
        rows = np.searchsorted(ends, chosen, side="right")
        starts = crop * (chosen - (ends - counts)[rows])
        places = zip(rows.tolist(), starts.tolist(), strict=True)
        clips = np.stack([events[row, start : start + crop] for row, start in places])
        self.measure_bandwidth(losses.sound_of(clips).numpy())

    def measure_bandwidth(self, clips: np.ndarray) -> None:
        """Sets the normalisation constants of the losses to those of clips, float (N, T, C).

        Raises:
            UserError: If the clips are silent.
        """
        measured = losses.bandwidth(clips, self.objective.stft)
        if min(measured) < LEAST_BANDWIDTH:
            raise UserError(
                f"{len(clips)} clips of the training data are silent; --data needs sound to learn"
            )
        self.bandwidth.assign(np.array(measured, np.float32))

    def in_words(self, measured: Mapping[str, float], majority: float | None = None) -> list[str]:
        decibels = 20 * math.log10(max(measured["spectral_convergence"], 1e-10))
        return [
            f"error {decibels:.1f} dB (silence: 0 dB)",
            f"loss {measured['loss']:.3g}",
            f"{measured['alive_0']:.0%} of codes in use",
        ]

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        if self.micro_batches > 1:
            raise UserError(
                f"train.micro_batches={self.micro_batches}: codebooks learn from whole batches; "
                "set it to 1"
            )
        return super().train_step(batch)

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the weighted sum of the terms of the objective over all levels."""
        sound, quantized = losses.sound_of(batch["events"]), outputs["quantized"]
        terms = self.distances(sound, outputs["sound"])
        commitment = sum(coded.commitment for coded in quantized)
        self._track(terms, commitment, [coded.statistics for coded in quantized])
        loss = self.objective.commitment * commitment
        for name in ("reconstruction", "multi_spectral", "spectral", "log_mel"):
            if name in terms:
                weight = getattr(self.objective, name, 1.0)
                loss += weight * tf.reduce_sum(terms[name])
        return loss

    def distances(self, sound: Tensor, sounds: Sequence[Tensor]) -> dict[str, Any]:
        """Returns the terms of the reconstruction loss.

        Args:
            sound: Float32 (B, T, C).
            sounds: Reconstructions float32 (B, T, C) of each level.

        Returns:
            Means over B, float32 (levels,): `reconstruction`, already weighted, and those of
            `multi_spectral`, `spectral` and `log_mel` that have a weight; and
            `spectral_convergence`, a scalar, of level 0.
        """
        objective = self.objective
        l1, l2, spectrum = tf.unstack(tf.convert_to_tensor(self.bandwidth))
        terms = {"reconstruction": tf.stack([self._of_samples(sound, y, l1, l2) for y in sounds])}
        every = tf.concat(sounds, axis=0)

        def of_spectra(distance, resolutions, levels=self.sizes.levels, others=every) -> Tensor:
            """Returns the mean distances over clips and resolutions (levels,)."""
            totals: list[Tensor] = []
            for resolution in resolutions:
                x = losses.spectrum(sound, resolution)
                y = losses.spectrum(others, resolution)
                x = tf.concat([x] * levels, axis=0)
                totals.append(tf.reduce_mean(tf.reshape(distance(x, y), [levels, -1]), axis=1))
            return sum(totals) / len(totals)

        if objective.multi_spectral:
            terms["multi_spectral"] = of_spectra(losses.distance, objective.resolutions) / spectrum
        if objective.spectral:
            relative = objective.relative_spectral
            distance = losses.convergence if relative else losses.distance
            apart = of_spectra(distance, [objective.stft])
            terms["spectral"] = apart if relative else apart / spectrum
        if objective.log_mel:
            terms["log_mel"] = of_spectra(
                lambda x, y: losses.log_mel_distance(x, y, self.sample_rate),
                objective.resolutions,
            )
        finest = tf.stop_gradient(sounds[0])
        terms["spectral_convergence"] = of_spectra(losses.convergence, [objective.stft], 1, finest)[
            0
        ]
        return terms

    def _of_samples(self, sound, other, l1, l2):
        objective, difference = self.objective, sound - other
        total = objective.l2 * tf.reduce_mean(tf.square(difference)) / l2
        if objective.l1:
            total += objective.l1 * tf.reduce_mean(tf.abs(difference)) / l1
        if objective.linf:
            largest = losses.largest_squares(sound, other, objective.linf_count)
            total += objective.linf * tf.reduce_mean(largest) / l2
        return total

    def _track(self, terms, commitment, statistics) -> None:
        values = {
            "spectral_convergence": terms["spectral_convergence"],
            "reconstruction": tf.reduce_sum(terms["reconstruction"]),
            "commitment": commitment,
        }
        for name in ("fit", "prenorm", "change"):
            values[name] = tf.reduce_mean([getattr(each, name) for each in statistics])
        for i, each in enumerate(statistics):
            if "multi_spectral" in terms:
                values[f"multi_spectral_{i}"] = terms["multi_spectral"][i]
            values[f"perplexity_{i}"] = tf.exp(each.entropy)
            values[f"used_{i}"] = each.used / self.sizes.codes
            values[f"alive_{i}"] = each.alive / self.sizes.codes
        for name, value in values.items():
            self.tracked[name].update_state(value)

    # The contract of a family ------------------------------------------------------------

    generate = generation.generate
    measure = evaluation.measure
    signatures = inference.signatures
    signature_arguments = row_arguments = inference.signature_arguments
    row_signature = inference.row_signature
    step_functions = stepping.step_functions
    pictures = inference.pictures

    @classmethod
    def for_config(cls, config: ExperimentConfig, converter: AudioConverter, **kwargs: Any) -> Self:
        sizes, crop = config.model, converter.crop
        if converter.channels != sizes.channels:
            raise UserError(
                f"converter.channels={converter.channels} and model.channels={sizes.channels} "
                f"differ; --set model.channels={converter.channels}"
            )
        hop, shortest = sizes.hop_lengths[-1], config.objective.shortest_clip
        if crop % hop or crop < shortest:
            near = max(round(crop / hop), -(-shortest // hop)) * hop
            raise UserError(
                f"converter.crop={crop} must be a multiple of {hop}, the samples of a code, and at "
                f"least {shortest}, for the spectra; --set converter.crop={near}"
            )
        return cls(sizes, config.objective, crop, converter.sample_rate, **kwargs)
