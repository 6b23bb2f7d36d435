"""Random music for three, of which each piece fits several encodings."""

from __future__ import annotations

import random

from note_seq.protobuf import music_pb2


def band(rng: random.Random, bars: int = 18):
    """Returns the NoteSequence of random music for three at 120 quarter notes a minute."""
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    sequence.tempos.add(qpm=120)
    sequence.time_signatures.add(numerator=4, denominator=4)

    def add(eighth, length, pitch, **kind):
        sequence.notes.add(
            pitch=pitch,
            velocity=rng.randrange(40, 120),
            start_time=eighth / 4,
            end_time=(eighth + length) / 4,
            **kind,
        )

    for eighth in range(8 * bars):
        if rng.random() < 0.7:
            add(eighth, 1, rng.choice((60, 62, 64, 65, 67, 69, 71, 72)), instrument=0, program=1)
        if eighth % 4 == 0:
            add(eighth, 4, rng.choice((36, 41, 43)), instrument=1, program=33)
            add(eighth, 1, 36, instrument=9, is_drum=True)
        add(eighth, 1, rng.choice((38, 42, 46)), instrument=9, is_drum=True)
    sequence.total_time = bars * 2
    return sequence
