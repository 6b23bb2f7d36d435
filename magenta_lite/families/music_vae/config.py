"""Sizes and objective of a MusicVAE; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

from magenta_lite.errors import UserError, unknown_name
from magenta_lite.modeling.sections import ModelSection, Objective

SAMPLING_SCHEDULES = ("constant", "exponential", "inverse_sigmoid")


@dataclasses.dataclass(frozen=True)
class MusicVAEConfig(ModelSection):
    """Sizes of a MusicVAE.

    Attributes:
        latent_size: Size Z of the latent vector.
        encoder_units: LSTM units of each bidirectional encoder layer, per direction.
        decoder_units: LSTM units of each layer of the decoder and of the conductor.
        encoder_levels: Steps of a segment at each level of a hierarchical encoder, the lowest
            first; empty for one encoder that reads all steps.
        segments: Number of segments of a hierarchical decoder; 1 for a decoder without conductor.
        decoder_per_part: Whether each part of the events (melody, bass, drums) has its own decoder.
        nade_units: Hidden units of NADE, for events that are sets of drums.
        dropout: Dropout rate of the inputs of every LSTM layer.
    """

    kind: ClassVar[str] = "music_vae"

    latent_size: int = 256
    encoder_units: tuple[int, ...] = (512,)
    decoder_units: tuple[int, ...] = (256, 256)
    encoder_levels: tuple[int, ...] = ()
    segments: int = 1
    decoder_per_part: bool = False
    nade_units: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("encoder_units", "decoder_units", "encoder_levels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("encoder_units", "decoder_units"):
            units = getattr(self, name)
            if not units or min(units) < 1:
                raise UserError(f"model.{name}={list(units)} needs at least one layer of 1 unit")
        for name in ("latent_size", "segments", "nade_units"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout={self.dropout} must lie in [0, 1)")
        if self.dropout and self.encoder_levels:
            raise UserError(
                f"model.dropout={self.dropout} works without model.encoder_levels only; "
                "set one of them to 0 or []"
            )


@dataclasses.dataclass(frozen=True)
class VAEObjective(Objective):
    """The evidence lower bound with free bits, annealed KL weight and scheduled sampling.

    Attributes:
        max_beta: Largest weight of the KL term.
        beta_rate: beta(step) = max_beta * (1 - beta_rate ** step).
        free_bits: Bits of an example's total KL divergence that are not penalised.
        sampling_schedule: Schedule of the probability p of scheduled sampling: `constant` p = rate,
            `exponential` p = 1 - rate ** step, `inverse_sigmoid`
            p = 1 - rate / (rate + exp(step / rate)).
        sampling_rate: `rate` in these formulas.
    """

    kind: ClassVar[str] = "vae"

    max_beta: float = 1.0
    beta_rate: float = 0.0
    free_bits: float = 0.0
    sampling_schedule: str = "constant"
    sampling_rate: float = 0.0

    def __post_init__(self) -> None:
        if self.sampling_schedule not in SAMPLING_SCHEDULES:
            raise unknown_name(
                "objective.sampling_schedule", self.sampling_schedule, SAMPLING_SCHEDULES
            )
        low, high = {"constant": (0, 1), "exponential": (0, 1)}.get(
            self.sampling_schedule, (1, float("inf"))
        )
        if not low <= self.sampling_rate <= high:
            raise UserError(
                f"objective.sampling_rate={self.sampling_rate} must lie in [{low}, {high}] "
                f"for the {self.sampling_schedule} schedule"
            )

    def shortened(self, steps: int, planned: int) -> VAEObjective:
        """Returns the objective with its schedules rescaled to a shorter run.

        The final KL weight is that of the planned run. Scheduled sampling reaches probability 1/2
        at the rescaled step, but not before half of the run, when the decoder is trained, and not
        after the step of this objective.

        Args:
            steps: Number of steps of the run.
            planned: Number of steps that this objective is meant for.
        """
        beta_rate = self.beta_rate ** (planned / steps)
        rate, schedule = self.sampling_rate, self.sampling_schedule
        if schedule == "exponential" and 0 < rate < 1:
            half = math.log(0.5) / math.log(rate)
            rate = 0.5 ** (1 / _halfway(half, steps, planned))
        elif schedule == "inverse_sigmoid" and rate > 1:
            half = rate * math.log(rate)
            rate = _rate_with_half_at(_halfway(half, steps, planned))
        return dataclasses.replace(self, beta_rate=beta_rate, sampling_rate=rate)

    def comparable_loss(self, measured: Mapping[str, float], steps: int) -> float:
        """Returns the loss of a validation with the KL weight of the last step, in nats.

        The annealed KL weight makes losses of different steps incomparable.

        Args:
            measured: `reconstruction_nll` and `kl`, means over the held-out examples.
            steps: Number of steps of the whole run.
        """
        beta = self.max_beta * (1 - self.beta_rate**steps)
        free_nats = self.free_bits * math.log(2)
        return measured["reconstruction_nll"] + beta * max(measured["kl"] - free_nats, 0.0)


def _halfway(half: float, steps: int, planned: int) -> float:
    """Returns the step of a shorter run at which a schedule reaches 1/2, instead of at `half`."""
    return min(half, max(half * steps / planned, steps / 2))


def _rate_with_half_at(step: float) -> float:
    """Returns the rate k of an inverse sigmoid that is 1/2 at a step: k ln k = step."""
    low, high = 1.0, max(step, math.e)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * math.log(middle) < step else (low, middle)
    return round(high, 3)
