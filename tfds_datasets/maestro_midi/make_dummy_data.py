"""Writes the dummy data of the builder test: random piano pieces without copyright.

python -m tfds_datasets.maestro_midi.make_dummy_data
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

FOLDER = Path(__file__).parent / "dummy_data" / "maestro-v3.0.0"
COLUMNS = (
    "canonical_composer",
    "canonical_title",
    "split",
    "year",
    "midi_filename",
    "audio_filename",
    "duration",
)

# Title, year, split. There are two performances of the first piece.
TAKES = (
    ("First Walk", 2004, "train"),
    ("First Walk", 2006, "train"),
    ("Second Walk", 2006, "train"),
    ("Third Walk", 2011, "validation"),
    ("Fourth Walk", 2018, "test"),
    ("Fifth Walk", 2018, "test"),
)


def take(rng: random.Random, chords: int = 16):
    """Returns a NoteSequence of random chords and a random melody, with pedal."""
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence(ticks_per_quarter=480)
    sequence.tempos.add(qpm=120)

    def strike(pitch, start, length):
        sequence.notes.add(
            pitch=pitch, velocity=rng.randrange(20, 110), start_time=start, end_time=start + length
        )

    now = 0.5
    for _ in range(chords):
        beat, root = rng.uniform(0.4, 0.7), rng.randrange(36, 48)
        for tone in (0, 7, 16):
            strike(root + tone, now + rng.uniform(0, 0.03), beat)
        for half in range(2):
            strike(rng.randrange(65, 90), now + half * beat, beat / 2)
        for time, value in ((now + 0.08, 127), (now + 2 * beat, 0)):
            sequence.control_changes.add(time=time, control_number=64, control_value=value)
        now += 2 * beat
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


def main() -> None:
    """Rewrites the folder, with the layout of the published data set."""
    import note_seq

    rng = random.Random(1)
    rows = []
    for i, (title, year, split) in enumerate(TAKES, 1):
        sequence = take(rng)
        name = f"{year}/MIDI-Dummy_{i:02d}"
        path = FOLDER / f"{name}.midi"
        path.parent.mkdir(parents=True, exist_ok=True)
        note_seq.sequence_proto_to_midi_file(sequence, str(path))
        files = (f"{name}.midi", f"{name}.wav", round(sequence.total_time, 6))
        rows.append(dict(zip(COLUMNS, ("Nobody", title, split, year, *files), strict=True)))
    with (FOLDER / "maestro-v3.0.0.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
