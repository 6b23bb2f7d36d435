"""Chorales on a 16th-note grid, with the pitches of soprano, alto, tenor and bass at each step."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from magenta_lite.converters.base import EncodeResult, EventFormat, Report, pitch_outside
from magenta_lite.converters.converter import check_at_least, check_pitch_range, checked_ids
from magenta_lite.converters.grid import (
    MAX_STEPS,
    is_playable,
    step_at,
    steps_at,
    tempo_map,
    to_step,
    to_steps,
)
from magenta_lite.converters.score import NoteArrays, Score, without
from magenta_lite.converters.token_converter import TokenConverter
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import new_sequence
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import Events, Music, NoteSequence

PAD, END, SILENT = 0, 1, 2
FIRST_PITCH = 3
REST = -1  # a rest, in a grid
FREE = -1  # the id of a token that is not given
CHOIR = 52  # General MIDI program
VELOCITY = 80
VOICE_NAMES = ("Soprano", "Alto", "Tenor", "Bass")
VOICES = len(VOICE_NAMES)


@dataclasses.dataclass(frozen=True)
class ChoraleConverterConfig:
    """Selection of pieces and length of examples.

    Attributes:
        crop: Length of a training example in tokens, a multiple of 4. Stored rows are twice as
            long, so that a crop can begin at any step.
        min_pitch: Minimum MIDI pitch; lower notes are dropped.
        max_pitch: Maximum MIDI pitch; higher notes are dropped.
        steps_per_quarter: Grid resolution.
        end_token: Whether pieces end with an end token.
        max_examples: Maximum number of rows of a piece; 0 for all.
    """

    kind: ClassVar[str] = "chorale"

    crop: int = 1024
    min_pitch: int = 33
    max_pitch: int = 84
    steps_per_quarter: int = 4
    end_token: bool = False
    max_examples: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, VOICES, "crop")
        check_at_least(self, 1, "steps_per_quarter")
        check_at_least(self, 0, "max_examples")
        if self.crop % VOICES:
            raise UserError(f"converter.crop={self.crop} must be a multiple of {VOICES}")
        check_pitch_range(self)


class GivenVoices(NamedTuple):
    """Voices that are kept while a model writes the others.

    Attributes:
        voices: Notes of the given voices by their numbers, with times in steps.
        ids: Int (T, 4), the ids of the given voices, `FREE` for the others.
    """

    voices: dict[int, NoteArrays]
    ids: np.ndarray

    @property
    def names(self) -> list[str]:
        """Names of the given voices."""
        return [VOICE_NAMES[number].lower() for number in self.voices]

    def put_into(self, piece: NoteSequence) -> NoteSequence:
        """Replaces voices of a decoded piece by the given ones, whose repeated notes stay apart."""
        step = piece.total_time / len(self.ids)
        kept = [note for note in piece.notes if note.instrument not in self.voices]
        programs = {note.instrument: note.program for note in piece.notes}
        result = copy.deepcopy(piece)
        del result.notes[:]
        result.notes.extend(kept)
        for number, notes in self.voices.items():
            for pitch, start, end in zip(notes.pitch, notes.start, notes.end, strict=True):
                note: Any = result.notes.add(instrument=number, velocity=VELOCITY)
                note.pitch, note.program = int(pitch), programs.get(number, CHOIR)
                note.start_time, note.end_time = start * step, end * step
        return result


def grid_of(voices: Sequence[NoteArrays], numbers: Sequence[int]) -> np.ndarray:
    """Returns pitches int (T, 4) of voices with these numbers, and rests; times are in steps.

    Where notes of a voice, which are in order of time and pitch, overlap, the last one counts.
    """
    steps = max(int(notes.end.max()) for notes in voices if len(notes.end))
    grid = np.full((steps, VOICES), REST)
    for number, notes in zip(numbers, voices, strict=True):
        for pitch, start, end in zip(notes.pitch, notes.start, notes.end, strict=True):
            grid[int(start) : int(end), number] = pitch
    return grid


class ChoraleConverter(TokenConverter):
    """Converts four voices to tokens, step by step, from the highest voice down at each step.

    Ids: 0 padding, 1 end, 2 a rest, 3 and up the pitches from `min_pitch` (Huang et al. 2018,
    §4.1). A sustained note and a repeated note have the same token, as in the data set that papers
    compare on.
    """

    config_class = ChoraleConverterConfig
    default_programs = (CHOIR,) * VOICES
    crop_grid = VOICES

    @property
    def rules(self) -> TokenRules:
        ends = self.config.end_token
        return TokenRules(
            size=self.event_format.sizes[0],
            pitch=self.pitch_ids[0][1:],
            end=END if ends else None,
            never=(PAD,) if ends else (PAD, END),
        )

    @property
    def event_format(self) -> EventFormat:
        """One id per token."""
        pitches = self.config.max_pitch - self.config.min_pitch + 1
        return EventFormat("categorical", (FIRST_PITCH + pitches,))

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of all pitches."""
        return ((0, FIRST_PITCH, self.event_format.sizes[0] - 1),)

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the rows of a piece of up to four voices.

        Each instrument is a voice, in order of their numbers, reversed if the last is higher than
        the first; missing voices rest. Row k holds the tokens from k * crop to (k + 2) * crop.
        """
        report = Report()
        windows = Windows(report, self.config.max_examples, once=False)
        ids = self.ids_of(music, report=report)
        for start in range(0, len(ids), self.crop):
            row = ids[start : start + self.window_steps]
            windows.add(np.array(row, self.event_format.event_dtype))
        return windows.result()

    def ids_of(self, music: Music, report: Report | None = None) -> list[int]:
        """Returns the ids of a whole piece; `report` counts dropped items."""
        report = Report() if report is None else report
        voices = self.voices(Score.of(music), report)
        return [] if voices is None else self.ids_of_grid(grid_of(voices, range(len(voices))))

    def ids_of_grid(self, grid: ArrayLike) -> list[int]:
        """Returns the ids of pitches int (T, 4), -1 for rests."""
        grid = np.asarray(grid)
        ids = np.where(grid == REST, SILENT, grid - self.config.min_pitch + FIRST_PITCH)
        return [*map(int, ids.ravel())] + [END] * self.config.end_token

    def voices(self, score: Score, report: Report) -> list[NoteArrays] | None:
        """Returns the notes of the voices, the highest first, in order, with times in steps.

        Reports the reason and returns None if there are none.
        """
        config = self.config
        if not is_playable(score, report):
            return None
        tempos = tempo_map(score, config.steps_per_quarter)
        if tempos is None:
            report.drop("tempo that is not a positive number, or at no possible time")
            return None
        notes = score.notes
        outside = (notes.pitch < config.min_pitch) | (notes.pitch > config.max_pitch)
        reason = pitch_outside(config.min_pitch, config.max_pitch)
        notes = notes[without(report, ("drum note", notes.is_drum), (reason, outside))]
        numbers = np.unique(notes.instrument)
        if not 1 <= len(numbers) <= VOICES:
            report.drop(f"piece of {len(numbers)} voices, not 1 to {VOICES}")
            return None
        last = float(notes.end.max())
        if not step_at(tempos, last) <= MAX_STEPS:
            report.drop(f"music longer than {MAX_STEPS:,} steps")
            return None
        if not to_step(step_at(tempos, last), 1):
            report.drop("piece shorter than a step")
            return None
        notes = notes[np.lexsort((notes.pitch, notes.start))]
        start, end = (to_steps(steps_at(tempos, time), 1) for time in (notes.start, notes.end))
        notes = dataclasses.replace(notes, start=start, end=end)
        voices = [notes[notes.instrument == number] for number in numbers]
        if np.mean(voices[0].pitch) < np.mean(voices[-1].pitch):
            voices.reverse()
        return voices

    # Given voices --------------------------------------------------------------------------

    def voice_numbers(self, names: Sequence[str]) -> list[int]:
        """Returns the numbers of voices to keep by their names, from the highest voice down.

        Raises:
            UserError: If a name is unknown, or all voices are named.
        """
        numbers = self.numbers_of(names)
        if len(numbers) == VOICES:
            raise UserError(f"--voices={','.join(names)} leaves no voice to write; name fewer")
        return numbers

    def numbers_of(self, names: Sequence[str]) -> list[int]:
        """Returns the numbers of voices as `voice_numbers`, of any.

        Raises:
            UserError: If a name is unknown.
        """
        known = [name.lower() for name in VOICE_NAMES]
        for name in names:
            if name.lower() not in known:
                raise unknown_name("voice", name, known)
        return sorted({known.index(name.lower()) for name in names})

    def given_voices(self, name: str, music: Music, names: Sequence[str] = ()) -> GivenVoices:
        """Returns voices of a piece to which others are to be added.

        Args:
            name: Name of the piece, for errors.
            music: A piece of all four voices, or of only those that are named.
            names: Names of the voices to keep; the soprano by default.

        Raises:
            UserError: If the piece has no notes, or other voices.
        """
        numbers, report = self.voice_numbers(names or VOICE_NAMES[:1]), Report()
        voices = self.voices(Score.of(music), report)
        if voices is None:
            raise UserError(f"{name} has no voices to keep: {report.main_reason()}")
        if len(voices) == VOICES:
            voices = [voices[number] for number in numbers]
        if len(voices) != len(numbers):
            raise UserError(
                f"{name} has {len(voices)} voices, and --voices={','.join(names) or 'soprano'} "
                f"names {len(numbers)}; give --voices for each of them, e.g. --voices=soprano,bass"
            )
        grid = grid_of(voices, numbers)
        ids = np.full(grid.shape, FREE)
        all_ids = np.reshape(self.ids_of_grid(grid)[: grid.size], grid.shape)
        ids[:, numbers] = all_ids[:, numbers]
        return GivenVoices(dict(zip(numbers, voices, strict=True)), ids)

    def seconds(self, ids: Sequence[int], qpm: float) -> float:
        """Returns the duration of `ids` in seconds at `qpm` quarter notes a minute."""
        return len(ids) // VOICES * 60 / qpm / self.config.steps_per_quarter

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence that ids (T,) describe; every sequence of ids is valid.

        The first 1 ends the piece, and 0 is a rest. Equal pitches of a voice at successive steps
        are one note.
        """
        programs = self._programs(programs)
        ids = checked_ids(events, self.event_format.sizes[0])
        if END in ids:
            ids = ids[: ids.index(END)]
        ids = np.pad(ids, (0, -len(ids) % VOICES), constant_values=SILENT).reshape(-1, VOICES)
        sequence, step = new_sequence(qpm), 60 / qpm / self.config.steps_per_quarter
        for voice, column in enumerate(ids.T):
            sequence.instrument_infos.add(instrument=voice, name=VOICE_NAMES[voice])
            edges = np.flatnonzero(np.diff(column, prepend=-1, append=-1))
            for start, end in itertools.pairwise(edges):
                if column[start] < FIRST_PITCH:
                    continue
                note: Any = sequence.notes.add()
                note.pitch = int(column[start]) - FIRST_PITCH + self.config.min_pitch
                note.velocity, note.instrument, note.program = VELOCITY, voice, programs[voice]
                note.start_time, note.end_time = start * step, end * step
        sequence.total_time = len(ids) * step
        return sequence
