"""Registered configs by name."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from magenta_lite.config.schedules import scaled
from magenta_lite.config.sections import ExperimentConfig
from magenta_lite.config.values import keys_of, override
from magenta_lite.errors import UserError, unknown_name

_Maker = Callable[[], ExperimentConfig]


class _Makers(NamedTuple):
    """Makers of a configuration with our settings and with those of the original."""

    ours: _Maker
    original: _Maker


_REGISTRY: dict[str, _Makers] = {}


def register(*names: str, original: _Maker | None = None) -> Callable[[_Maker], _Maker]:
    """Decorator that registers a function without arguments as the maker of configs `names`.

    `original` is the maker of these configs with the settings of the original (`--original`), by
    default the same function.
    """

    def wrap(function: _Maker) -> _Maker:
        for name in names:
            _REGISTRY[name] = _Makers(function, original or function)
        return function

    return wrap


def config_names() -> list[str]:
    """Returns the names of all registered configs."""
    _import_shipped_configs()
    return sorted(_REGISTRY)


def get_config(
    name: str, overrides: Sequence[str] = (), original: bool = False
) -> ExperimentConfig:
    """Returns the config `name` with `overrides` applied.

    If they make the run shorter, the schedules of the objective are scaled; see `scaled`.

    Args:
        name: A registered name, or `path/to/file.py:name` for a file that registers it.
        overrides: Texts `section.key=value`; values are YAML, checked against the field's type.
        original: Use the settings of the original, whose schedules count its own steps, instead of
            ours.

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
    makers = _REGISTRY[name]
    config = makers.original() if original else makers.ours()
    planned = config.train.steps
    if original:
        train = dataclasses.replace(config.train, scale_schedules=False, precision="float32")
        config = dataclasses.replace(config, train=train)
    config = override(dataclasses.replace(config, name=name), overrides)
    return scaled(config, config.train.steps, planned, keys_of(overrides))


@functools.cache
def _import_shipped_configs() -> None:
    """Imports the files in `configs/`, in the installed package or beside it in a checkout."""
    here = Path(__file__).parents[1]
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
