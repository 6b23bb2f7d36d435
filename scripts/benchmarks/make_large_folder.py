"""Makes a folder, or an archive, of synthetic songs as large as those of the Lakh MIDI dataset.

python scripts/benchmarks/make_large_folder.py FOLDER [--files=2000] [--first=0]
python scripts/benchmarks/make_large_folder.py SONGS.tar.gz [--files=2000]

A song has on average 5,900 notes in 43 kB: drums, bass, chords, pads, arpeggios and melodies over
random chord progressions, in sections that recur with small changes, with some changes of tempo and
metre. Song number i is the same on each machine and in each form.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

SEED = 20_000
BARS = 8  # of a section
SONGS_OF_A_FOLDER = 1000
DRUMS = 9  # the channel

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
KICK, SNARE, HAT, OPEN_HAT, CRASH = 36, 38, 42, 46, 49


class Part(NamedTuple):
    """How an instrument plays.

    Attributes:
        name: Name of the track.
        programs: General MIDI programs, one of which is chosen.
        low: Lowest MIDI pitch.
        rate: Probability of an onset at each 16th note of a bar, relative to the metrical weight.
        voices: Notes of a chord.
        share: Share of the songs that have the part.
    """

    name: str
    programs: tuple[int, ...]
    low: int
    rate: float
    voices: int
    share: float


PARTS = (
    Part("Bass", (32, 33, 34, 35, 38), 30, 0.6, 1, 0.95),
    Part("Piano", (0, 1, 4, 16), 52, 0.32, 3, 0.9),
    Part("Guitar", (24, 25, 27, 29), 48, 0.4, 3, 0.7),
    Part("Strings", (48, 50, 52, 89), 55, 0.06, 4, 0.7),
    Part("Arpeggio", (6, 11, 26, 46), 57, 0.85, 1, 0.6),
    Part("Melody", (0, 56, 65, 73, 80, 81), 64, 0.5, 1, 1.0),
    Part("Second melody", (60, 68, 71, 85), 60, 0.3, 1, 0.5),
)


class Notes(NamedTuple):
    """Notes: start and length in 16th notes, pitch and velocity; int (N,)."""

    start: np.ndarray
    length: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray


def joined(notes: list[Notes]) -> Notes:
    """Returns the notes of all."""
    return Notes(*map(np.concatenate, zip(*notes, strict=True)))


def song(number: int) -> bytes:
    """Returns a MIDI file."""
    rng = np.random.default_rng([SEED, number])
    bar = 12 if rng.random() < 0.15 else 16  # 16th notes
    sections = int(np.clip(rng.lognormal(2.51, 0.4), 4, 40))
    form = rng.choice(4, sections, p=(0.4, 0.3, 0.2, 0.1))
    scale = np.array(MAJOR if rng.random() < 0.6 else MINOR) + rng.integers(12)
    chords = rng.choice(7, (4, BARS), p=(0.3, 0.08, 0.05, 0.2, 0.2, 0.15, 0.02))
    ticks = int(rng.choice((96, 120, 192, 240, 384, 480)))
    loose = int(rng.choice((0, 0, ticks // 40)))  # ticks between the grid and the notes
    short = rng.random() < 0.5  # running status, and note-ons of velocity 0 for note-offs

    tracks = [_conductor(rng, number, bar, sections, ticks)]
    channels = iter(channel for channel in range(16) if channel != DRUMS)
    for part in PARTS:
        if rng.random() < part.share:
            program = int(rng.choice(part.programs))
            once = [_section(rng, part, bar, scale, degrees) for degrees in chords]
            notes = _played(rng, once, form, bar)
            tracks.append(
                _track(rng, part.name, next(channels), program, notes, ticks, loose, short)
            )
    if rng.random() < 0.9:
        notes = _played(rng, [_drums(rng, bar) for _ in chords], form, bar)
        tracks.append(_track(rng, "Drums", DRUMS, 0, notes, ticks, loose, short))
    header = (1).to_bytes(2) + len(tracks).to_bytes(2) + ticks.to_bytes(2)
    chunks = [(b"MThd", header), *((b"MTrk", track) for track in tracks)]
    return b"".join(kind + len(data).to_bytes(4) + data for kind, data in chunks)


def _onsets(rng: np.random.Generator, bar: int, rate: float) -> np.ndarray:
    """Returns the onsets in a section, in 16th notes: a rhythm of two bars that recurs."""
    weight = np.tile(np.array([1.4, 0.5, 1.0, 0.6])[np.arange(bar) % 4], 2)
    rhythm = rng.random(2 * bar) < rate * weight
    rhythm[0] = True
    places = np.tile(rhythm, BARS // 2)
    places ^= rng.random(len(places)) < 0.02
    return np.flatnonzero(places)


def _section(
    rng: np.random.Generator, part: Part, bar: int, scale: np.ndarray, degrees: np.ndarray
) -> Notes:
    """Returns the notes of a part in a section with the chords `degrees`, one a bar."""
    start = _onsets(rng, bar, part.rate)
    length = np.diff(np.append(start, BARS * bar))
    length = np.maximum(np.minimum(length, rng.choice((2, 4, 16))), 1)
    if part.voices > 1:
        tones = 2 * np.tile(np.arange(part.voices), len(start))
    elif part.low < 40:
        tones = rng.choice((0, 4), len(start), p=(0.8, 0.2))
    else:
        tones = np.cumsum(rng.choice((-2, -1, 0, 1, 2), len(start), p=(0.15, 0.3, 0.1, 0.3, 0.15)))
        tones = np.abs(tones) % 14
    start, length = np.repeat(start, part.voices), np.repeat(length, part.voices)
    octave, degree = np.divmod(degrees[start // bar] + tones, 7)
    pitch = part.low + 12 * octave + (scale[degree] - part.low) % 12
    return Notes(start, length, pitch, rng.integers(60, 110, len(start)))


def _drums(rng: np.random.Generator, bar: int) -> Notes:
    places = [
        (KICK, _onsets(rng, bar, 0.2)),
        (SNARE, np.arange(4, BARS * bar, 8)),
        (HAT, np.arange(0, BARS * bar, rng.choice((1, 2, 2, 4)))),
        (OPEN_HAT, _onsets(rng, bar, 0.03)),
        (CRASH, np.zeros(1, int)),
    ]
    start = np.concatenate([place for _, place in places])
    pitch = np.repeat([pitch for pitch, _ in places], [len(place) for _, place in places])
    return Notes(start, np.ones_like(start), pitch, rng.integers(50, 120, len(start)))


def _played(rng: np.random.Generator, once: list[Notes], form: np.ndarray, bar: int) -> Notes:
    """Returns the notes of all sections of the `form`, with changes and rests."""
    notes = []
    for i, section in enumerate(form):
        found = once[section]
        keep = rng.random(len(found.start)) > 0.03
        if i and rng.random() < 0.1:
            keep[:] = False
        moved = found._replace(start=found.start + i * BARS * bar)
        notes.append(Notes(*(field[keep] for field in moved)))
    return joined(notes)


def _conductor(rng: np.random.Generator, number: int, bar: int, sections: int, ticks: int) -> bytes:
    """Returns the track with title, metres and tempos."""
    beats = bar // 4
    events = [(0, 0x03, f"Song {number}".encode()), (0, 0x58, bytes([beats, 2, 24, 8]))]
    change = int(rng.integers(1, sections))
    if rng.random() < 0.1:  # a bar of another metre before a section
        length = BARS * bar * ticks // 4
        events.append((change * length, 0x58, bytes([beats - 1, 2, 24, 8])))
        events.append((change * length + (beats - 1) * ticks, 0x58, bytes([beats, 2, 24, 8])))
    qpm = rng.uniform(70, 170)
    slower = (0, *sorted(rng.integers(1, BARS * sections, rng.choice((0, 0, 1, 2, 8)))))
    for i, place in enumerate(slower):
        microseconds = int(60e6 / (qpm * (0.97**i)))
        events.append((int(place) * bar * ticks // 4, 0x51, microseconds.to_bytes(3)))
    track, before = b"", 0
    for tick, kind, data in sorted(events, key=lambda event: event[0]):
        track += _number(tick - before) + bytes([0xFF, kind, len(data)]) + data
        before = tick
    return track + b"\x00\xff\x2f\x00"


def _number(value: int) -> bytes:
    """Returns a number of variable length."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, value & 0x7F | 0x80)
    return bytes(digits)


def _track(
    rng: np.random.Generator,
    name: str,
    channel: int,
    program: int,
    notes: Notes,
    ticks: int,
    loose: int,
    short: bool,
) -> bytes:
    """Returns the bytes of a track. `short` is running status; see `song` for `loose`."""
    start = notes.start * ticks // 4 + (rng.integers(0, loose + 1, len(notes.start)))
    end = start + np.maximum(notes.length * ticks // 4 - rng.integers(1, ticks // 8 + 1), 1)
    order = np.lexsort((-start, notes.pitch))[::-1]  # by pitch, and by time
    start, end, pitch, velocity = (
        array[order] for array in (start, end, notes.pitch, notes.velocity)
    )
    same = np.append(pitch[1:] == pitch[:-1], False)  # ends before it is struck again
    end = np.where(same, np.minimum(end, np.append(start[1:], 0)), end)
    first = [[7, 10, 91], rng.integers(40, 120, 3)]
    sweep = np.arange(0, start.max(initial=0), 8 * ticks)  # expression

    tick = np.concatenate([np.zeros(3, int), sweep, start, end])
    status = np.repeat([0xB0, 0x90, 0x90 if short else 0x80], [3 + len(sweep), *2 * [len(start)]])
    one = np.concatenate([first[0], np.full(len(sweep), 11), pitch, pitch])
    zeros = np.full(len(start), 0 if short else 64)
    two = np.concatenate([first[1], rng.integers(60, 127, len(sweep)), velocity, zeros])
    order = np.lexsort((status == 0x90, tick)) if not short else np.lexsort((two > 0, tick))
    tick, status, one, two = tick[order], status[order] | channel, one[order], two[order]

    delta = np.diff(tick, prepend=0)
    digits = np.stack(
        [delta >> 14 | 0x80, delta >> 7 & 0x7F | 0x80, delta & 0x7F, status, one, two]
    )
    has_status = np.append(True, status[1:] != status[:-1]) if short else np.ones(len(tick), bool)
    ones = np.ones(len(tick), bool)
    used = np.stack([delta >= 2**14, delta >= 2**7, ones, has_status, ones, ones])
    events = digits.T[used.T].astype(np.uint8).tobytes()
    title = b"\x00\xff\x03" + bytes([len(name)]) + name.encode()
    return title + bytes([0, 0xC0 | channel, program]) + events + b"\x00\xff\x2f\x00"


def songs(first: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yields the path and the bytes of each song."""
    for i in range(first, first + count):
        yield f"{i // SONGS_OF_A_FOLDER:03d}/song_{i:06d}.mid", song(i)


def write(path: Path, first: int, count: int) -> int:
    """Writes songs into a folder or an archive; returns the sum of their sizes."""
    size = 0
    if not path.name.endswith(".tar.gz"):
        for name, data in songs(first, count):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
            size += len(data)
        return size
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in songs(first, count):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            size += len(data)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="folder, or archive *.tar.gz")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first song")
    args = parser.parse_args()
    began = time.process_time()
    size = write(args.path, args.first, args.files)
    print(
        f"{args.files:,} files of {size / args.files / 1000:.1f} kB on average in {args.path}; "
        f"{time.process_time() - began:.1f} s of CPU time"
    )


if __name__ == "__main__":
    main()
