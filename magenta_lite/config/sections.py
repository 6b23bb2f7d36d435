"""Sections of a config: frozen dataclasses of values."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from magenta_lite.converters.groove import PITCH_MAPS
from magenta_lite.errors import UserError, unknown_name

SECTIONS = ("converter", "model", "objective", "data", "train", "generate")
GROUPINGS = ("content", "folder")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
OPTIMIZERS = ("adam", "adafactor")
SCHEDULES = ("decay", "noam", "rsqrt", "cosine")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The source of the data, and their augmentation in training.

    Attributes:
        source: A folder, archive or file of music; or `folk`, `folk:kids`, `folk:essen`, tune books
            in music21; `bach_chorales`, the voices of its chorales; `arranged`, tunes and chorales
            arranged for a small band; `rendered`, the same rendered for a piano;
            `freedoom[:PATH]`, songs in WAD files; `groove_midi[:PATH]`, recordings of drummers;
            `maestro_midi[:PATH]`, piano performances; `jsb_chorales[:PATH]`, chorales on a grid; or
            `tfds:NAME[/CONFIG]`, a built TFDS data set. For models of audio: a folder or file of
            sound; or `rendered_audio`, tunes and chorales as sound. Empty for models of codes: the
            source of their VQ-VAE.
        group_by: Which pieces of a folder are related and stay in one split: `content`, those with
            common passages (copies, transpositions, arrangements, performances of one work); or
            `folder`, those whose files are in the same subfolder, and copies.
        transpose: Lowest and highest transposition in semitones, drawn uniformly for every example
            of every training batch. Drums are not transposed.
        transpose_last: The limits to which `transpose` narrows in the second half of training; null
            for constant limits.
    """

    source: str = "folk"
    group_by: str = "content"
    transpose: tuple[int, int] = (0, 0)
    transpose_last: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.group_by not in GROUPINGS:
            raise unknown_name("data.group_by", self.group_by, GROUPINGS)
        for name in ("transpose", "transpose_last"):
            limits = getattr(self, name)
            if limits is None:
                continue
            object.__setattr__(self, name, tuple(limits))
            if len(limits) != 2 or limits[0] > limits[1]:
                raise UserError(
                    f"data.{name}={list(limits)} is not [lowest, highest]; "
                    f"give it as --set 'data.{name}=[-5,5]'"
                )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The optimiser, its schedule, and the intervals of a training run.

    Attributes:
        steps: Optimiser steps of the whole run.
        minutes: Time budget, from which a new run chooses `steps` and `checkpoint_every`; 0 to use
            `steps` as given. Set by `train --minutes`.
        batch_size: Global batch size, over all replicas together.
        optimizer: `adam`, or `adafactor`, whose steps are relative to the size of the weights.
        schedule: Learning rate schedule. `decay`: `min_learning_rate + (learning_rate -
            min_learning_rate) * learning_rate_decay ** step`; `noam`: linear warm-up, then inverse
            square root decay; `rsqrt`: the same without warm-up; `cosine`: linear warm-up, then
            half a cosine to `min_learning_rate` at `steps`.
        learning_rate: Initial learning rate of `decay`; peak of the other schedules.
        learning_rate_decay: Decay factor per step of `decay`.
        min_learning_rate: Limit of `decay`; final learning rate of `cosine`.
        warmup_steps: Steps of warm-up; of `rsqrt`, steps at the peak.
        scale_schedules: Scale schedules to short runs: warm-up takes at most a tenth of all steps,
            and a new run that is shorter than its configuration scales those of the objective. The
            originals do not.
        schedule_steps: Number of steps to which the schedules of the objective are scaled; 0 if
            they are not. Set by `get_config`.
        clip_norm: Global norm to which gradients are clipped; 0 for no clipping.
        clip_per_variable: Clip the gradient of each weight by its own norm instead of the global
            norm.
        clip_to_zero_norm: Gradients with a global norm of at least this, or NaN, are replaced by
            zeros.
        adam_beta_2: Decay of Adam's second moment.
        adam_epsilon: Added outside the bias correction, as in TensorFlow 1.
        precision: `float32`, `mixed_bfloat16` (matrix products in bfloat16), or `auto`: the faster
            of both on this machine, as measured at the start of a run.
        seed: Seed of the initial weights, the order of the data and all random numbers.
        checkpoint_every: Steps between checkpoints, each of which follows a validation.
        keep_checkpoints: Number of newest checkpoints to keep, besides the best one.
        patience: The run stops after this number of validations without improvement; 0 for never.
        ema: Decay of an exponential moving average of the weights, e.g. 0.999, which spans at most
            the last tenth of the steps and is used for validation, samples and checkpoints; 0 for
            none.
        validation_examples: Largest number of held-out examples per validation; 0 for no validation
            and no samples.
        micro_batches: Number of parts into which a replica splits its batch to accumulate
            gradients: less memory, the same gradient.
        initial_gain: Factor of the initial kernels. Small networks with one-hot inputs have outputs
            near 0 at first and learn slowly; a gain of 4 makes them learn in a fraction of the
            steps.
        recompute: Recompute LSTM gates and attention layers in the backward pass: less memory, more
            time.
    """

    steps: int = 200_000
    minutes: float = 0.0
    batch_size: int = 512
    optimizer: str = "adam"
    schedule: str = "decay"
    learning_rate: float = 1e-3
    learning_rate_decay: float = 0.9999
    min_learning_rate: float = 1e-5
    warmup_steps: int = 1000
    scale_schedules: bool = True
    schedule_steps: int = 0
    clip_norm: float = 1.0
    clip_per_variable: bool = False
    clip_to_zero_norm: float = 10_000.0
    adam_beta_2: float = 0.999
    adam_epsilon: float = 1e-8
    precision: str = "auto"
    seed: int = 0
    checkpoint_every: int = 500
    keep_checkpoints: int = 3
    patience: int = 0
    ema: float = 0.0
    validation_examples: int = 1024
    micro_batches: int = 1
    initial_gain: float = 1.0
    recompute: bool = False

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "checkpoint_every", "keep_checkpoints", "micro_batches")
        for name in counts:
            if getattr(self, name) < 1:
                raise UserError(f"train.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.minutes < math.inf:
            raise UserError(f"train.minutes={self.minutes} must be a number of minutes")
        for name in ("patience", "schedule_steps"):
            if getattr(self, name) < 0:
                raise UserError(f"train.{name}={getattr(self, name)} must not be negative")
        if not 0 <= self.ema < 1:
            raise UserError(f"train.ema={self.ema} must lie in [0, 1), e.g. 0.999; 0 for none")
        choices = {"precision": PRECISIONS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown_name(f"train.{name}", getattr(self, name), known)


@dataclasses.dataclass(frozen=True)
class GenerateConfig:
    """Settings of generation, and defaults of the options of `generate`.

    Attributes:
        temperature: Divisor of the logits; below 1 is more predictable, above 1 more random.
        num_outputs: Number of pieces per call.
        qpm: Tempo of the MIDI files in quarter notes per minute.
        programs: General MIDI programs (0-127) of the melodic parts of the MIDI files; empty for
            the converter's own. Ignored with --data, as they fit the configuration's own data.
        max_silence: Maximum silence of a Music Transformer or a MuseNet, in seconds; 0 for any
            silence of a Music Transformer.
        trained_context: Whether a Music Transformer that writes long pieces has as many tokens in
            sight as in its training examples, the last half of which it reads again when they are
            full; otherwise `model.positions`.
        max_note: Maximum duration of a note of a MuseNet, in seconds.
        max_hung_note: Maximum duration of notes without a note-off of a Music Transformer, in
            seconds; 0 to hold them until the last token.
        by_event: Whether temperature, top-k, top-p and min-p of a MelodyRNN act on the
            probabilities of events; otherwise on those of classes, of which several may mean the
            same event, as in the original.
        inference_pitch_map: Drums that a MusicVAE of grooves reads in inputs: `reduced`, those of
            General MIDI, or `roland`.
    """

    temperature: float = 0.5
    num_outputs: int = 4
    qpm: float = 120.0
    programs: tuple[int, ...] = ()
    max_silence: float = 4.0
    trained_context: bool = False
    max_note: float = 10.0
    max_hung_note: float = 0.0
    by_event: bool = False
    inference_pitch_map: str = "reduced"

    def __post_init__(self) -> None:
        object.__setattr__(self, "programs", tuple(self.programs))
        for name in ("max_silence", "max_note", "max_hung_note"):
            if not getattr(self, name) >= 0:
                raise UserError(f"generate.{name}={getattr(self, name)} must be at least 0")
        if self.inference_pitch_map not in PITCH_MAPS:
            raise unknown_name("generate.inference_pitch_map", self.inference_pitch_map, PITCH_MAPS)


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """The complete config of a run. The classes of some sections depend on the family.

    Attributes:
        converter: Encoding of the music, e.g. `MelodyConverterConfig`.
        model: Sizes of the network, e.g. `MusicVAEConfig`; its `kind` names the family.
        objective: The loss, e.g. `VAEObjective`.
        data: Source and augmentation of the data.
        train: Optimiser and training run.
        generate: Defaults of `generate`.
        name: The registered name, set by `get_config`.
    """

    converter: Any
    model: Any
    objective: Any
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    generate: GenerateConfig = dataclasses.field(default_factory=GenerateConfig)
    name: str = ""

    FREE_SECTIONS: ClassVar[tuple[str, ...]] = ("converter", "model", "objective")

    def __post_init__(self) -> None:
        longest, crop = self.model.longest_crop, getattr(self.converter, "crop", 0)
        if longest is not None and crop > longest:
            raise UserError(
                f"converter.crop={crop} tokens do not fit into model.positions={longest}; give "
                f"--set converter.crop={longest} or --set model.positions={crop}"
            )

    @property
    def family(self) -> str:
        """Name of the model family."""
        return self.model.kind
