"""Backing chords of generated melodies."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from magenta_lite.converters.chords import UnusableChords, canonical, nearest_class, typed_symbols
from magenta_lite.converters.event_sequences.chord_ids import chord_id
from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn.primers import USUAL_CHORDS, Primer
from magenta_lite.families.melody_rnn.songs import chord_changes
from magenta_lite.typing import NoteSequence

if TYPE_CHECKING:
    from magenta_lite.converters.event_sequences.melody import EventMelodyConverter
    from magenta_lite.families.melody_rnn.options import MelodyRNNOptions

# Of chords rendered as notes: a quiet piano.
VELOCITY, INSTRUMENT, PROGRAM = 50, 1, 0


class BackingChords:
    """Chords from the first step of the primer on: of the options, a song, or `USUAL_CHORDS`.

    The chords of a song are aligned with it, and repeat after its end. Prints the choice.

    Raises:
        UserError: If a chord cannot be read.
    """

    def __init__(self, converter: EventMelodyConverter, options: MelodyRNNOptions, primer: Primer):
        self._converter, self._options = converter, options
        self._given = bool(options.backing_chords)
        self._symbols = typed_symbols(options.backing_chords or USUAL_CHORDS, "backing_chords")
        self._song = [] if self._given else self._of_song(primer)
        self._first = primer.passage.start if self._song and primer.passage else 0
        if not self._given and not self._song:
            why = f"{options.inputs[0][0]} has no chord symbols; " if options.inputs else ""
            print(f"{why}the chords are {USUAL_CHORDS}: --backing_chords gives others")

    def _of_song(self, primer: Primer) -> list[tuple[int, str]]:
        """Returns (step, symbol) of each chord of the primer's song, and (length of the song, "").

        The length, in whole bars, is the period with which the chords repeat.
        """
        part, grid = primer.passage, self._converter.config.steps_per_quarter
        changes = chord_changes(part, grid) if part else []
        if not part or not changes:
            return []
        (name, _), *_ = self._options.inputs
        try:
            changes = [(step, canonical(text)) for step, text in changes]
        except UnusableChords as error:
            raise UserError(f"{name}: {error}; give chords with --backing_chords") from error
        end = max(part.start + len(part.events), changes[-1][0] + 1)
        bars = -(-end // part.bar)
        print(f"Chords: {len(changes)} of {name}; after its {bars} bars they begin anew")
        return [*changes, (bars * part.bar, "")]

    def ids(self, total: int, semitones: int = 0) -> np.ndarray:
        """Returns the chord id of each of `total` steps, transposed by `semitones`: int32 (total,).

        Raises:
            UserError: If the chords of the options end before.
        """
        count, length = len(self._symbols), self._options.steps_per_chord
        if self._given and total > count * length:
            raise UserError(
                f"--backing_chords has {count} chords of {length} steps, {count * length} in "
                f"all, for {total} steps of music; give --steps_per_chord={-(-total // count)} or "
                f"--num_steps={count * length}"
            )
        ids = np.zeros(total, np.int32)
        for step, symbol in self._changes(total):
            ids[step:] = _id(symbol, self._converter.config.chords)
        return self._converter.move_chords(ids, semitones)

    def _changes(self, total: int) -> list[tuple[int, str]]:
        """Returns (step of the piece, symbol) where each chord begins, up to `total` steps."""
        if not self._song:
            steps = range(0, total, self._options.steps_per_chord)
            return list(zip(steps, itertools.cycle(self._symbols), strict=False))
        *changes, (period, _) = self._song
        at, found = -self._first, {}
        while at < total:
            for step, symbol in changes:
                found[max(at + step, 0)] = symbol  # the last one before the piece starts it
            at += period
        return sorted((step, symbol) for step, symbol in found.items() if step < total)

    def add_to(self, sequence: NoteSequence, first: int, end: int, qpm: float) -> None:
        """Adds the chords of steps `first` to `end` to a NoteSequence that begins at `first`.

        They are chord symbols, and notes with the option `render_chords`.
        """
        from note_seq import chords_lib
        from note_seq.protobuf import music_pb2

        seconds = 60 / qpm / self._converter.config.steps_per_quarter
        at = {max(step, first): symbol for step, symbol in self._changes(end)}
        for step, symbol in at.items():
            sequence.text_annotations.add(
                time=(step - first) * seconds,
                text=symbol,
                annotation_type=music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL,
            )
        if self._options.render_chords:
            # The last chord lasts until the end of the piece.
            sequence.total_time = max(sequence.total_time, (end - first) * seconds)
            renderer = chords_lib.BasicChordRenderer(VELOCITY, INSTRUMENT, PROGRAM)
            renderer.render(sequence)
            sequence.instrument_infos.add(instrument=INSTRUMENT, name="Chords")


def _id(symbol: str, reading: str) -> int:
    """Returns the id of a chord symbol; that of the nearest triad for a converter of triads."""
    return nearest_class(symbol) if reading == "triads" else chord_id(symbol, reading)
