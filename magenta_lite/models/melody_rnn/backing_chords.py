"""The chords that a melody is made over."""

from __future__ import annotations

import numpy as np

from magenta_lite.encoders.chords import UnusableChords
from magenta_lite.encoders.event_sequences.chord_ids import chord_id
from magenta_lite.errors import UserError

USUAL_CHORDS = "C G Am F C G F C"
# Of chords that are written as notes: a piano, under the melody.
VELOCITY, INSTRUMENT, PROGRAM = 50, 1, 0


class BackingChords:
    """Chords of equal length, from the first step of the primer on.

    Args:
        encoder: An `EventMelodyEncoder` with chords.
        request: A `GenerateRequest`; without chords of its own `USUAL_CHORDS` go round.

    Attributes:
        steps: Length of all.

    Raises:
        UserError: If there is no chord, or an unknown one.
    """

    def __init__(self, encoder, request):
        self._encoder, self._render = encoder, request.render_chords
        self._given = bool(request.backing_chords)
        text = request.backing_chords or USUAL_CHORDS
        self._symbols = text.replace("|", " ").replace(",", " ").split()
        if not self._symbols:
            raise UserError(f"--backing_chords='{text}' has no chords; write some, e.g. 'C G Am F'")
        try:
            ids = [chord_id(symbol, encoder.config.chords) for symbol in self._symbols]
        except UnusableChords as error:
            raise UserError(
                f"--backing_chords: {error}; write chords like C, Am, F#dim, G7, or N.C. for none"
            ) from error
        self._ids = np.array(ids, np.int32)
        self._length = request.steps_per_chord
        self.steps = len(self._symbols) * self._length

    def ids(self, total: int, semitones: int = 0) -> np.ndarray:
        """Returns the chord id of each of `total` steps, moved by `semitones`: int32 (total,).

        Raises:
            UserError: If the chords end before.
        """
        if self._given and total > self.steps:
            count = len(self._symbols)
            raise UserError(
                f"--backing_chords has {count} chords of {self._length} steps, {self.steps} in "
                f"all, for {total} steps of music; give --steps_per_chord={-(-total // count)} or "
                f"--num_steps={self.steps}"
            )
        number = np.arange(total) // self._length
        return self._encoder.move_chords(self._ids[number % len(self._ids)], semitones)

    def add_to(self, sequence, first: int, end: int, qpm: float) -> None:
        """Adds the chords of steps `first` to `end` to a NoteSequence that begins with `first`.

        They are chord symbols, and notes too where the request says so.
        """
        from note_seq import chords_lib
        from note_seq.protobuf import music_pb2

        seconds = 60 / qpm / self._encoder.config.steps_per_quarter
        for number in range(first // self._length, -(-end // self._length)):
            sequence.text_annotations.add(
                time=max(number * self._length - first, 0) * seconds,
                text=self._symbols[number % len(self._symbols)],
                annotation_type=music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL,
            )
        if self._render:
            # The last chord sounds to the end of the piece.
            sequence.total_time = max(sequence.total_time, (end - first) * seconds)
            renderer = chords_lib.BasicChordRenderer(VELOCITY, INSTRUMENT, PROGRAM)
            renderer.render(sequence)
            sequence.instrument_infos.add(instrument=INSTRUMENT, name="Chords")
