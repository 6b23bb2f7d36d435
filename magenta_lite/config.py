"""Configs of runs: frozen dataclasses, their registry, `--set`, and their YAML files.

A config contains only values; converters, data sets and models are built from it. Imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import math
import os
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from magenta_lite.converters import CONVERTERS, SOUND_CONVERTERS
from magenta_lite.converters.groove import PITCH_MAPS
from magenta_lite.errors import UserError, first_line, unknown_name
from magenta_lite.families import FAMILIES
from magenta_lite.files import UNPRINTABLE
from magenta_lite.yaml_files import YAMLError, parse_yaml, read_yaml, reason_of, to_yaml

# The classes of the sections of a saved config, by the `kind` stored with their values.
SECTION_CLASSES: dict[str, type] = {
    kind: converter.config_class for kind, converter in (CONVERTERS | SOUND_CONVERTERS).items()
} | {
    section.kind: section
    for family in FAMILIES.values()
    for section in (family.config_class, family.objective_class)
}

# Sections by their names in earlier versions, in files and in --set.
FORMER_SECTIONS = {"encoder": "converter"}

# Fields that converter sections had in earlier versions, by kind, with their defaults. Now the
# section `model` has them, or else `generate`. The names of built data sets depend on the defaults.
_LIMITS = {"max_silence": 4.0, "max_hung_note": 0.0}
FORMER_CONVERTER_FIELDS: dict[str, dict[str, Any]] = {
    "groove": {
        "humanize": False,
        "tapify": False,
        "fixed_velocities": False,
        "added_classes": [],
        "hits_as_controls": False,
        "max_note_dropout": 0.0,
        "inference_pitch_map": "reduced",
    },
    "event_melody": {"encoding": "key", "lookback_distances": [16, 32]},
    "melody_performance": _LIMITS,
    "performance": _LIMITS,
    "musenet_tokens": {"max_note": 10.0, "max_silence": 4.0},
}

# Fields of converter sections that came later, by kind: the names of built data sets depend on them
# only where they differ from their defaults.
LATER_CONVERTER_FIELDS: dict[str, tuple[str, ...]] = {
    "musenet_tokens": ("merge_doubled", "places_by_time")
}
# Fields of converter sections that change the examples of a batch, not those of a data set.
TRAINING_CONVERTER_FIELDS: dict[str, tuple[str, ...]] = {"musenet_tokens": ("infill",)}

SECTIONS = ("converter", "model", "objective", "data", "train", "generate")
GROUPINGS = ("content", "folder")
PRECISIONS = ("float32", "mixed_bfloat16")
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
        warmup_steps: Steps of warm-up, limited to a tenth of all steps; of `rsqrt`, steps at the
            peak.
        clip_norm: Global norm to which gradients are clipped; 0 for no clipping.
        clip_per_variable: Clip the gradient of each weight by its own norm instead of the global
            norm.
        clip_to_zero_norm: Gradients with a global norm of at least this, or NaN, are replaced by
            zeros.
        adam_beta_2: Decay of Adam's second moment.
        adam_epsilon: Added outside the bias correction, as in TensorFlow 1.
        precision: `float32` or `mixed_bfloat16` (matrix products in bfloat16).
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
    clip_norm: float = 1.0
    clip_per_variable: bool = False
    clip_to_zero_norm: float = 10_000.0
    adam_beta_2: float = 0.999
    adam_epsilon: float = 1e-8
    precision: str = "float32"
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
        if self.patience < 0:
            raise UserError(f"train.patience={self.patience} must not be negative")
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
        max_note: Maximum duration of a note of a MuseNet, in seconds.
        max_hung_note: Maximum duration of notes without a note-off of a Music Transformer, in
            seconds; 0 to hold them until the last token.
        inference_pitch_map: Drums that a MusicVAE of grooves reads in inputs: `reduced`, those of
            General MIDI, or `roland`.
    """

    temperature: float = 0.5
    num_outputs: int = 4
    qpm: float = 120.0
    programs: tuple[int, ...] = ()
    max_silence: float = 4.0
    max_note: float = 10.0
    max_hung_note: float = 0.0
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


_Maker = Callable[[], ExperimentConfig]

_REGISTRY: dict[str, _Maker] = {}


def register(*names: str) -> Callable[[_Maker], _Maker]:
    """Decorator that registers a function without arguments as the maker of configs `names`."""

    def wrap(function: _Maker) -> _Maker:
        for name in names:
            _REGISTRY[name] = function
        return function

    return wrap


def config_names() -> list[str]:
    """Returns the names of all registered configs."""
    _import_shipped_configs()
    return sorted(_REGISTRY)


def get_config(name: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Returns the config `name` with `overrides` applied.

    Args:
        name: A registered name, or `path/to/file.py:name` for a file that registers it.
        overrides: Texts `section.key=value`; values are YAML, checked against the field's type.

    Raises:
        UserError: If the name or a key is unknown, or a value has a wrong type; suggests similar
            names.
    """
    if ".py:" in name:
        path, name = name.rsplit(":", 1)
        _import_file(Path(path).expanduser())
    else:
        _import_shipped_configs()
    if name not in _REGISTRY:
        families = "Leave --config out to see some, or name a family, e.g. --config=music_vae"
        raise unknown_name("config", name, _REGISTRY, families)
    config = dataclasses.replace(_REGISTRY[name](), name=name)
    return override(config, overrides)


def override(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """Returns `config` with texts `section.key=value` applied; raises like `get_config`."""
    if not overrides:
        return config
    changes: dict[str, dict[str, Any]] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        section, dot, field = key.strip().partition(".")
        section = FORMER_SECTIONS.get(section, section)
        if not separator or not dot:
            raise UserError(f"--set {text} is not section.key=value, e.g. train.steps=500")
        former_fields = FORMER_CONVERTER_FIELDS.get(config.converter.kind, ())
        if section == "converter" and field in former_fields:
            section = _section_of(field, type(config.model))
        _check_known(config, section, field)
        try:
            changes.setdefault(section, {})[field] = parse_yaml(value)
        except YAMLError as error:
            raise UserError(f"--set {text} is not a value{reason_of(error)}") from error
    sections = {
        section: _merge(getattr(config, section), values, section)
        for section, values in changes.items()
    }
    return dataclasses.replace(config, **sections)


def save_config(config: ExperimentConfig, path: Path) -> None:
    """Writes `config` as YAML, each section with its `kind`."""
    tree: dict[str, Any] = {"name": config.name}
    for section in SECTIONS:
        value = getattr(config, section)
        kind = {"kind": value.kind} if section in ExperimentConfig.FREE_SECTIONS else {}
        tree[section] = kind | dataclasses.asdict(value)
    path.write_text(to_yaml(tree), encoding="utf-8")


def load_config(path: Path) -> ExperimentConfig:
    """Reads a file of `save_config`. Raises: UserError if it is missing or not a config."""
    if not os.path.isfile(path):  # also if the path is too long or has a NUL
        raise UserError(f"{path} is missing: {path.parent} is not a run directory")
    tree = read_yaml(path)
    try:
        for former, section in FORMER_SECTIONS.items():
            if former in tree:
                tree[section] = tree.pop(former)
        model_class = section_class(tree["model"]["kind"])
        for field in FORMER_CONVERTER_FIELDS.get(tree["converter"]["kind"], ()):
            if field in tree["converter"]:
                tree[_section_of(field, model_class)][field] = tree["converter"].pop(field)
        sections = {}
        for section in SECTIONS:
            values = dict(tree[section])
            kind = values.pop("kind", None)
            cls = section_class(kind) if kind else _FIXED_SECTIONS[section]
            sections[section] = _merge(cls, values, section)
        return ExperimentConfig(name=_name(tree), **sections)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is not a config that this version can read ({error!r:.200}); "
            "copy the run again"
        ) from error


def _name(tree: dict[str, Any]) -> str:
    name = tree.get("name", "")
    if not isinstance(name, str) or UNPRINTABLE.search(name):
        raise UserError(f"name: {name!r:.80} is not the name of a configuration")
    return name


def section_class(kind: str) -> type:
    """Returns the dataclass of a section with this `kind`, e.g. `melody`."""
    if kind not in SECTION_CLASSES:
        raise unknown_name("kind of section", kind, SECTION_CLASSES)
    return SECTION_CLASSES[kind]


_FIXED_SECTIONS = {"data": DataConfig, "train": TrainConfig, "generate": GenerateConfig}


def _section_of(former_field: str, model_class: type) -> str:
    """Returns the section that now has a field of `FORMER_CONVERTER_FIELDS`."""
    names = {field.name for field in dataclasses.fields(model_class)}
    return "model" if former_field in names else "generate"


def _check_known(config: ExperimentConfig, section: str, field: str) -> None:
    if section not in SECTIONS:
        raise unknown_name("section in --set", section, SECTIONS)
    fields = [f.name for f in dataclasses.fields(getattr(config, section))]
    if field not in fields:
        known = [f"{section}.{name}" for name in fields]
        raise unknown_name("key in --set", f"{section}.{field}", known)


def _merge(section: Any, changes: dict[str, Any], name: str) -> Any:
    """Returns a dataclass (or an instance of a type) with `changes` of its fields.

    OmegaConf converts them to the types of the fields. It does not see texts, in which it would
    replace `${...}`, e.g. by environment variables.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    is_class = isinstance(section, type)
    cls = section if is_class else type(section)
    hints = typing.get_type_hints(cls)
    values = {key: value for key, value in changes.items() if _is_text(value, hints.get(key))}
    others = {key: value for key, value in changes.items() if key not in values}
    for key, value in others.items():
        if "${" in repr(value) or value == "???":
            raise UserError(
                f"{name}.{key}={value!r:.80}: variables are not replaced; write the value itself"
            )
    typed = OmegaConf.structured(cls)
    OmegaConf.set_readonly(typed, False)  # frozen dataclasses make read-only nodes
    try:
        merged: Any = OmegaConf.merge(typed, others)
        for key in others:
            value = merged[key]
            values[key] = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "?"
        raise UserError(f"{name}.{key}: {first_line(error)}") from error
    return section(**values) if is_class else dataclasses.replace(section, **values)


def _is_text(value: Any, hint: Any) -> bool:
    """Returns whether a value of a field with this type hint is text, or a list of texts."""
    if hint == tuple[str, ...]:
        return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)
    return hint is str and isinstance(value, str)


@functools.cache
def _import_shipped_configs() -> None:
    """Imports the files in `configs/`, in the installed package or beside it in a checkout."""
    here = Path(__file__).parent
    folders = [here / "configs", here.parent / "configs"]
    folder = next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"No configs/ in {here} or {here.parent}: reinstall magenta_lite")
    for path in sorted(folder.glob("[!_]*.py")):
        _import_file(path)


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"There is no config file {path}")
    name = f"magenta_lite_config_{path.stem}"
    spec: Any = importlib.util.spec_from_file_location(name, path)  # not None: it is a .py file
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
