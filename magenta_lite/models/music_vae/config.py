"""Sizes and objective of a MusicVAE; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError, unknown_name

SAMPLING_SCHEDULES = ("constant", "exponential", "inverse_sigmoid")


@dataclasses.dataclass(frozen=True)
class MusicVAEConfig:
    """Sizes of a MusicVAE.

    Attributes:
        latent_size: Width Z of the latent vector.
        encoder_units: LSTM units of each bidirectional encoder layer, per direction.
        decoder_units: LSTM units of each decoder layer, and of the conductor's.
        encoder_levels: Steps of a segment at each level of a hierarchical encoder, the lowest
            first; empty for one encoder that reads all steps.
        segments: Segments that a conductor plans; 1 for a decoder without conductor.
        decoder_per_part: Give each part of the events (melody, bass, drums) its own decoder.
        nade_units: Hidden units of NADE, for events that are sets of drums.
        dropout: Share of every LSTM layer's inputs that is left out in training.
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

    def __post_init__(self):
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
class VAEObjective:
    """The evidence lower bound with free bits, annealed KL weight and scheduled sampling.

    Attributes:
        max_beta: Largest weight of the KL term.
        beta_rate: beta(step) = max_beta * (1 - beta_rate ** step).
        free_bits: Bits of an example's total KL divergence that cost nothing.
        sampling_schedule: How the probability that the decoder is fed its own sample grows:
            `constant` p = rate, `exponential` p = 1 - rate ** step, `inverse_sigmoid`
            p = 1 - rate / (rate + exp(step / rate)).
        sampling_rate: `rate` in these formulas.
    """

    kind: ClassVar[str] = "vae"

    max_beta: float = 1.0
    beta_rate: float = 0.0
    free_bits: float = 0.0
    sampling_schedule: str = "constant"
    sampling_rate: float = 0.0

    def __post_init__(self):
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
