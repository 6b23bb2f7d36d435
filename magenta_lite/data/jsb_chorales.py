"""JSB Chorales on a grid of sixteenths, with the splits used in the literature."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.data.reading import Piece, Source
from magenta_lite.errors import UserError

URL = "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/master/Jsb16thSeparated.json"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
VOICES = 4
STEP = 0.125  # seconds of a sixteenth at 120 quarter notes per minute
PROGRAM = 52  # choir


@dataclasses.dataclass(frozen=True)
class ChoraleSource(Source):
    """One chorale of the file.

    Attributes:
        grid: Pitches (T, 4), soprano first; -1 where a voice rests.
    """

    grid: tuple = ()

    is_quick: ClassVar[bool] = True  # there is nothing left to read

    def read(self) -> tuple[list[Piece], Report]:
        """Returns the chorale as a NoteSequence with one instrument per voice, and a report."""
        report = Report()
        report.keep("pieces")
        return [Piece(self.name, _sequence(np.array(self.grid)), self.split)], report


def list_chorales(path: str | Path) -> tuple[list[Source], Report]:
    """Returns the chorales in a copy of the file, with their splits, and an empty report.

    Raises:
        UserError: If `path` is empty, does not exist or is not the file.
    """
    if not path:
        raise UserError(
            f"jsb_chorales is downloaded only for training; get {URL} and give its path: "
            "jsb_chorales:PATH"
        )
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"There is no file {path}")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        sources: list[Source] = [
            ChoraleSource(str(path), f"{name}/{i:03d}", split=split, grid=_grid(chorale))
            for name, split in SPLITS.items()
            for i, chorale in enumerate(tree[name])
        ]
    except (ValueError, ArithmeticError, LookupError, TypeError, OSError, RecursionError) as error:
        raise UserError(
            f"{path} is not the file Jsb16thSeparated.json ({error!r:.80}); other music is given "
            "without the name of the data set: --data=PATH"
        ) from error
    return sources, Report()


def _grid(chorale: Any) -> tuple:
    grid = np.array(chorale, int)
    if grid.ndim != 2 or grid.shape[1] != VOICES or not len(grid):
        raise ValueError(f"a chorale of shape {grid.shape}")
    if grid.min() < -1 or grid.max() > 127:
        raise ValueError("a pitch outside 0-127")
    return tuple(map(tuple, grid.tolist()))


def _sequence(grid: np.ndarray):
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    sequence.tempos.add(qpm=120)
    for voice, column in enumerate(grid.T):
        edges = np.flatnonzero(np.diff(column, prepend=-2, append=-2))
        for start, end in itertools.pairwise(edges):
            if column[start] >= 0:
                sequence.notes.add(
                    pitch=int(column[start]),
                    velocity=80,
                    start_time=start * STEP,
                    end_time=end * STEP,
                    instrument=voice,
                    program=PROGRAM,
                )
    sequence.total_time = len(grid) * STEP
    return sequence
