"""`--set`, and configs as YAML files."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magenta_lite.config.sections import (
    SECTIONS,
    DataConfig,
    ExperimentConfig,
    GenerateConfig,
    TrainConfig,
)
from magenta_lite.converters import CONVERTERS, SOUND_CONVERTERS
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
TRAINING_CONVERTER_FIELDS: dict[str, tuple[str, ...]] = {
    "musenet_tokens": ("infill", "controls"),
    "performance": ("infill",),
}

# Fields of converter sections that determine the vocabulary of a model and no data set. A run that
# starts from the weights of another one keeps those of that run.
VOCABULARY_FIELDS: dict[str, tuple[str, ...]] = {"performance": ("infill",)}


def keys_of(overrides: Sequence[str]) -> set[str]:
    """Returns the keys of texts `section.key=value`."""
    return {text.partition("=")[0].strip() for text in overrides}


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
    # YAML reads nothing, as in `--set data.source=`, as null.
    changes = {
        key: "" if value is None and hints.get(key) is str else value
        for key, value in changes.items()
    }
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
