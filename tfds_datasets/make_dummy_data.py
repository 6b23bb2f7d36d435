"""Writes the dummy data of the builder tests: random tunes without copyright.

python -m tfds_datasets.make_dummy_data
"""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
SCALE = "CDEFGABcdefgab"
PITCHES = (60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81, 83)

# Number of tunes per book, with the paths of music21's corpus.
BOOKS = {
    "airdsAirs/book1.abc": 6,
    "oneills1850/0001-0050.abc": 5,
    "ryansMammoth/FirstReel.abc": 1,
    "ryansMammoth/SecondReel.abc": 1,
    "essenFolksong/kinder0.abc": 4,
    "essenFolksong/han1.abc": 4,
}


def melody(rng: random.Random, bars: int) -> list[tuple[int, int]]:
    """Returns (index in the scale, length in eighths) of each note of a random walk in 4/4."""
    notes, place = [], rng.randrange(4, 10)
    for _ in range(bars):
        left = 8
        while left:
            length = rng.choice([n for n in (1, 1, 2, 2, 4) if n <= left])
            place = min(max(place + rng.choice((-2, -1, -1, 1, 1, 2)), 0), len(SCALE) - 1)
            notes.append((place, length))
            left -= length
    return notes


def abc(number: int, notes: list[tuple[int, int]]) -> str:
    """Returns `notes` as an ABC tune."""
    bars, filled = [[]], 0
    for place, length in notes:
        bars[-1].append(SCALE[place] + (str(length) if length > 1 else ""))
        filled += length
        if filled % 8 == 0:
            bars.append([])
    body = " | ".join(" ".join(bar) for bar in bars if bar)
    return f"X:{number}\nT:Walk {number}\nM:4/4\nL:1/8\nK:C\n{body} |]\n"


def write_books(
    folder: Path,
    books: dict[str, int],
    rng: random.Random,
    bars: int,
    other_meter: bool = False,
    header: str = "",
) -> None:
    """Writes books of random ABC tunes.

    Args:
        folder: Folder of the books.
        books: Number of tunes of each book, by its path.
        rng: Random generator of the tunes.
        bars: Length of the tunes.
        other_meter: Whether books of several tunes get another one, in a meter that is not read.
        header: Fields of all tunes.
    """
    for book, tunes in books.items():
        path = folder / book
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [abc(number + 1, melody(rng, bars)) for number in range(tunes)]
        if other_meter and tunes > 1:
            texts.append(abc(99, melody(rng, bars)).replace("M:4/4", "M:6/8"))
        path.write_text("\n".join(texts).replace("K:C", f"{header}K:C"), encoding="utf-8")


def write_midi(path: Path, notes: list[tuple[int, int]], program: int = 0) -> None:
    """Writes `notes` as a MIDI file at 120 quarter notes per minute."""
    import note_seq
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    sequence.tempos.add(qpm=120)
    sequence.time_signatures.add(numerator=4, denominator=4)
    time = 0.0
    for place, length in notes:
        end = time + length / 4
        sequence.notes.add(
            pitch=PITCHES[place], velocity=80, start_time=time, end_time=end, program=program
        )
        time = end
    sequence.total_time = time
    note_seq.sequence_proto_to_midi_file(sequence, str(path))


def main() -> None:
    """Rewrites both folders."""
    rng = random.Random(1)
    write_books(HERE / "folk" / "dummy_data", BOOKS, rng, bars=6)

    folder = HERE / "midi_dir" / "dummy_data"
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    first = melody(rng, 6)
    write_midi(folder / "a.mid", first)
    write_midi(folder / "b.midi", melody(rng, 6))
    write_midi(folder / "same_as_a.mid", first)
    write_midi(folder / "voice.mid", melody(rng, 4), program=53)
    write_midi(folder / "sub" / "c.mid", melody(rng, 5))
    (folder / "sub" / "d.abc").write_text(abc(1, melody(rng, 5)), encoding="utf-8")
    (folder / "truncated.mid").write_bytes((folder / "a.mid").read_bytes()[:40])
    (folder / "empty.mid").write_bytes(b"")
    (folder / "notes.txt").write_text("This is no music.\n", encoding="utf-8")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        for name in ("e.mid", "f.mid"):
            scratch = folder / name
            write_midi(scratch, melody(rng, 6))
            archive.writestr(zipfile.ZipInfo(name), scratch.read_bytes())
            scratch.unlink()


if __name__ == "__main__":
    main()
