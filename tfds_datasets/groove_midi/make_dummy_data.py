"""Writes the dummy data of the builder test: random drum patterns without copyright.

python -m tfds_datasets.groove_midi.make_dummy_data
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

FOLDER = Path(__file__).parent / "dummy_data" / "groove"
COLUMNS = (
    "drummer",
    "session",
    "id",
    "style",
    "bpm",
    "beat_type",
    "time_signature",
    "midi_filename",
    "audio_filename",
    "duration",
    "split",
)

# Drummer, style, quarter notes per minute, beat or fill, time signature, bars, split.
TAKES = (
    ("drummer1", "rock", 100, "beat", "4-4", 9, "train"),
    ("drummer1", "funk", 92, "beat", "4-4", 8, "train"),
    ("drummer1", "funk", 92, "fill", "4-4", 1, "train"),
    ("drummer1", "jazz", 150, "beat", "3-4", 6, "train"),
    ("drummer2", "latin", 120, "beat", "4-4", 8, "train"),
    ("drummer2", "soul", 84, "beat", "4-4", 6, "validation"),
    ("drummer2", "rock", 110, "fill", "4-4", 2, "validation"),
    ("drummer3", "hiphop", 90, "beat", "4-4", 6, "test"),
    ("drummer3", "hiphop", 90, "fill", "4-4", 1, "test"),
)

# Pitch, and probabilities of a hit at each 16th of a quarter note.
KIT = (
    (36, (0.7, 0.1, 0.3, 0.1)),
    (38, (0.4, 0.1, 0.1, 0.1)),
    (42, (0.8, 0.2, 0.7, 0.2)),
    (26, (0.0, 0.0, 0.1, 0.0)),
    (43, (0.0, 0.1, 0.1, 0.1)),
    (51, (0.3, 0.0, 0.2, 0.0)),
)


def take(rng: random.Random, qpm: int, meter: str, bars: int):
    """Returns a NoteSequence of `bars` bars with random timing deviations."""
    from note_seq.protobuf import music_pb2

    numerator, denominator = map(int, meter.split("-"))
    sequence = music_pb2.NoteSequence(ticks_per_quarter=480)
    sequence.tempos.add(qpm=qpm)
    sequence.time_signatures.add(numerator=numerator, denominator=denominator)
    step = 60 / qpm / 4
    for i in range(bars * 4 * numerator):
        for pitch, chances in KIT:
            if rng.random() < chances[i % 4] or i == 0:
                start = max(0.0, i + rng.uniform(-0.3, 0.3)) * step
                velocity = rng.randrange(20, 128)
                sequence.notes.add(
                    pitch=pitch,
                    velocity=velocity,
                    start_time=start,
                    end_time=start + step / 2,
                    instrument=9,
                    is_drum=True,
                )
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


def main() -> None:
    """Rewrites the folder, with the layout of the published data set."""
    import note_seq

    rng = random.Random(1)
    rows = []
    for i, (drummer, style, qpm, kind, meter, bars, split) in enumerate(TAKES, 1):
        session = f"{drummer}/session1"
        name = f"{session}/{i}_{style}_{qpm}_{kind}_{meter}"
        sequence = take(rng, qpm, meter, bars)
        path = FOLDER / f"{name}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        note_seq.sequence_proto_to_midi_file(sequence, str(path))
        values = (drummer, session, f"{session}/{i}", style, qpm, kind, meter)
        files = (f"{name}.mid", f"{name}.wav", round(sequence.total_time, 6))
        rows.append(dict(zip(COLUMNS, (*values, *files, split), strict=True)))
    with (FOLDER / "info.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
