"""Inputs of trained models: files, or music in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from magenta_lite.converters import SOUND_CONVERTERS
from magenta_lite.converters.converter import Converter
from magenta_lite.data.audio import read_audio
from magenta_lite.data.listing import read_file


def read_inputs(given: Any, converter: Converter) -> tuple[tuple[str, Any], ...]:
    """Returns pairs of a name and a NoteSequence, or an `Audio` for a converter of sound.

    Args:
        given: A path, a NoteSequence or an `Audio`, a list of these, or None.
        converter: The model's converter.

    Raises:
        UserError: If a file cannot be read.
    """
    if given is None:
        return ()
    several = given if isinstance(given, (list, tuple)) else [given]
    return tuple(pair for each in several for pair in _read(each, converter.config))


def _read(given: Any, config: Any) -> list[tuple[str, Any]]:
    if not isinstance(given, (str, os.PathLike)):
        return [(getattr(given, "filename", "") or "input", given)]
    path = Path(given).expanduser()
    if config.kind in SOUND_CONVERTERS:
        return [(path.name, read_audio(path, config.sample_rate, config.channels))]
    return [(piece.name, piece.sequence) for piece in read_file(path)]
