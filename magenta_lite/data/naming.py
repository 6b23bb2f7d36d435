"""Resolves `--data`: a data set of the package, a copy of one, or a folder.

Imports no TensorFlow.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magenta_lite.config import DataConfig
from magenta_lite.converters.base import Report
from magenta_lite.data import progress
from magenta_lite.data.reading import Source
from magenta_lite.data.specs import DATASETS, DatasetSpec
from magenta_lite.errors import UserError

TFDS = "tfds:"  # prefix of the names of other TFDS data sets
# Data sets that are given by name; the others are given by the path of a folder.
NAMED = {name: spec for name, spec in DATASETS.items() if spec.argument != "folder"}


def find(source: str, converter_config: Any = None) -> tuple[DatasetSpec, str]:
    """Returns the data set that `source` names, and its argument.

    Args:
        source: `NAME`, `NAME:ARGUMENT` or a path.
        converter_config: Converter section, which reads notes or sound; None for notes.

    Raises:
        UserError: If the path does not exist, or the data set holds sound instead of notes or the
            reverse.
    """
    sound = getattr(converter_config, "kind", "") == "audio"
    name, colon, argument = source.partition(":")
    if name not in NAMED:
        path = Path(source).expanduser()
        if not os.path.exists(path):  # also if it is too long or has a NUL
            raise UserError(
                f"There is no folder or file {path}; give one, or {', '.join(NAMED)} or tfds:NAME"
            )
        return DATASETS["audio_dir" if sound else "midi_dir"], str(path.resolve())
    spec = NAMED[name]
    if spec.is_sound != sound:
        fitting = [other.name for other in NAMED.values() if other.is_sound == sound]
        holds, wanted = ("notes", "sound") if sound else ("sound", "notes")
        raise UserError(
            f"{name} holds {holds}, and this configuration reads {wanted}; give a folder of "
            f"{'sound files' if sound else 'MIDI files'}, or {', '.join(fitting)}"
        )
    if colon and not argument:
        raise UserError(f"{source} has no argument after its colon; give {name} or {name}:...")
    return spec, argument


def list_source(source: str, converter_config: Any = None) -> tuple[Sequence[Source], Report]:
    """Returns the sources of a data set or a folder, and a report of the dropped files.

    Args:
        source: See `DataConfig`.
        converter_config: Converter section, which reads notes or sound; None for notes.

    Raises:
        UserError: If `source` is unknown, or a built TFDS data set.
    """
    if source.startswith(TFDS):
        raise UserError(
            f"{source} is built already; only folders and {', '.join(NAMED)} can be inspected"
        )
    mention_folder(source)
    spec, argument = find(source, converter_config)
    return spec.list_sources(argument)


def is_by_folder(data: DataConfig) -> bool:
    """Returns whether the pieces in one folder are related, as `data.group_by` says.

    Raises:
        UserError: If the source is not a folder of the user.
    """
    by_folder = data.group_by == "folder"
    if by_folder and (data.source.startswith(TFDS) or data.source.partition(":")[0] in NAMED):
        raise UserError(
            f"data.group_by=folder is for folders of your own, and {data.source} is none; leave it "
            "out"
        )
    return by_folder


def absolute_source(source: str) -> str:
    """Returns `source` with its path, if any, made absolute."""
    name, path = source.partition(":")[0], _path_in(source)
    if path is None:
        return source
    return f"{name}:{os.path.abspath(path)}" if name in NAMED else os.path.abspath(path)


def is_gone(source: str) -> bool:
    """Returns whether `source` has a path that does not exist."""
    path = _path_in(source)
    return path is not None and not os.path.exists(path)


def _path_in(source: str) -> Path | None:
    """Returns the path that a source is or has as its argument; None if there is none."""
    name, _, argument = source.partition(":")
    if name not in NAMED:
        return Path(source).expanduser() if source and not source.startswith(TFDS) else None
    is_copy = bool(argument) and NAMED[name].argument == "copy"
    return Path(argument).expanduser() if is_copy else None


@functools.cache  # printed once per process
def mention_folder(source: str) -> None:
    """Prints a note if a folder has the name of the data set `source`."""
    if source in NAMED and Path(source).exists():
        progress.say(
            f"This is the collection {source} that comes with the package; there is also a folder "
            f"{source} here: for that write --data=./{source}"
        )
