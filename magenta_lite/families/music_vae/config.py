"""Sizes and objective of a MusicVAE; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from magenta_lite.converters.base import EventFormat
from magenta_lite.converters.converter import EXAMPLE
from magenta_lite.converters.groove import DRUMS
from magenta_lite.errors import UserError
from magenta_lite.modeling.sections import ModelSection, Objective

INPUT_CHANGES = ("humanize", "tapify", "fixed_velocities")
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
        humanize: For grooves: hide velocities and offsets from the encoder network; the model
            learns to add them.
        tapify: For grooves: replace the drums of each step by a tap in the input of the encoder
            network; the model learns to choose the drums.
        fixed_velocities: For grooves: hide velocities.
        added_classes: For grooves: classes to hide (0 kick, 1 snare, 2 closed hi-hat, 3 open
            hi-hat, 4 low, 5 mid and 6 high tom, 7 crash, 8 ride), which the model learns to add.
        hits_as_controls: For grooves: condition encoder and decoder on the hits at every step.
        max_note_dropout: For grooves: maximum probability in training of hiding a hit, which is
            higher for softer hits.
        expression_units: For grooves: units per direction of a bidirectional LSTM that gives the
            velocities and offsets of the decoded hits, so that only errors at hits count; 0 for a
            decoder of all three, as in the original.
        mean_stddev: Standard deviation of the initial kernel of the posterior means. With the
            original's, latent vectors are noise at first, which some decoders learn to ignore.
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
    humanize: bool = False
    tapify: bool = False
    fixed_velocities: bool = False
    added_classes: tuple[int, ...] = ()
    hits_as_controls: bool = False
    max_note_dropout: float = 0.0
    expression_units: int = 0
    mean_stddev: float = 0.001

    def __post_init__(self) -> None:
        self.make_tuples("encoder_units", "decoder_units", "encoder_levels", "added_classes")
        self.check_units("encoder_units", "decoder_units")
        self.check_at_least(1, "latent_size", "segments", "nade_units")
        self.check_at_least(0, "expression_units")
        self.check_rates("dropout")
        if not self.mean_stddev > 0:
            raise UserError(f"model.mean_stddev={self.mean_stddev} must be above 0")
        if self.dropout and self.encoder_levels:
            raise UserError(
                f"model.dropout={self.dropout} works without model.encoder_levels only; "
                "set one of them to 0 or []"
            )
        if not 0 <= self.max_note_dropout <= 1:
            raise UserError(f"model.max_note_dropout={self.max_note_dropout} must lie in [0, 1]")
        if not set(self.added_classes) <= set(range(DRUMS)):
            raise UserError(
                f"model.added_classes={list(self.added_classes)} must be classes of drums, 0 to "
                f"{DRUMS - 1}"
            )

    @property
    def generate_flags(self) -> tuple[str, ...]:
        return (f"--input={EXAMPLE}",) if self.hits_as_controls else ()

    def input_format(self, events: EventFormat) -> EventFormat:
        """Returns a converter's format with the changes to the input of the networks.

        Raises:
            UserError: If a setting for grooves is given for other events.
        """
        changes: dict[str, Any] = {
            "input_changes": tuple(name for name in INPUT_CHANGES if getattr(self, name)),
            "hidden_classes": self.added_classes,
            "max_note_dropout": self.max_note_dropout,
        }
        if self.hits_as_controls:
            changes["control"] = "hits"
        if (any(changes.values()) or self.expression_units) and events.kind != "groove":
            raise UserError(
                "model.humanize, tapify, fixed_velocities, added_classes, hits_as_controls, "
                "max_note_dropout and expression_units are for converter.kind=groove only"
            )
        return dataclasses.replace(events, **changes)


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
        error_weight: For grooves: weight of the squared errors of velocities and offsets.
    """

    kind: ClassVar[str] = "vae"
    scheduled = ("max_beta", "beta_rate", "sampling_schedule", "sampling_rate")

    max_beta: float = 1.0
    beta_rate: float = 0.0
    free_bits: float = 0.0
    sampling_schedule: str = "constant"
    sampling_rate: float = 0.0
    error_weight: float = 1.0

    def __post_init__(self) -> None:
        self.check_choice("sampling_schedule", SAMPLING_SCHEDULES)
        if not self.error_weight > 0:
            raise UserError(f"objective.error_weight={self.error_weight} must be above 0")
        low, high = (1, math.inf) if self.sampling_schedule == "inverse_sigmoid" else (0, 1)
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

    def beta(self, step: int) -> float:
        """Returns the KL weight at a step."""
        return self.max_beta * (1 - self.beta_rate**step)

    def sampling_probability(self, step: int) -> float:
        """Returns the probability of scheduled sampling at a step."""
        if self.sampling_schedule == "constant":
            return self.sampling_rate
        if self.sampling_schedule == "exponential":
            return 1 - self.sampling_rate**step
        return 1 / (1 + self.sampling_rate * math.exp(-step / self.sampling_rate))

    def schedules_in_words(self, steps: int) -> str:
        """Returns the KL weight and the probability of scheduled sampling, halfway and at last."""
        moments = (steps // 2, steps)
        betas = " and ".join(f"{self.beta(step):.2g}" for step in moments)
        chances = " and ".join(f"{self.sampling_probability(step):.0%}" for step in moments)
        return (
            f"halfway and at the end, the KL weight is {betas}, and {chances} of the inputs are "
            "sampled"
        )

    def continuing(self, source: VAEObjective, step: int) -> VAEObjective:
        """Returns an objective with the KL weight and the scheduled sampling of another run's step.

        They are constant: a KL weight that began at 0 again would undo the regularisation of the
        latent space.
        """
        return dataclasses.replace(
            self,
            max_beta=source.beta(step),
            beta_rate=0.0,
            sampling_schedule="constant",
            sampling_rate=source.sampling_probability(step),
        )

    def comparable_loss(self, measured: Mapping[str, float], steps: int) -> float:
        """Returns the loss of a validation with the KL weight of the last step, in nats.

        The annealed KL weight makes losses of different steps incomparable.
        """
        free_nats = self.free_bits * math.log(2)
        kl_cost = max(measured["kl"] - free_nats, 0.0)
        return measured["reconstruction_nll"] + self.beta(steps) * kl_cost


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
