"""Files as bad as users' folders have them, and good ones; all of the music is made up here."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from magenta_lite.data.records import masked_crc

TICKS = 220  # a quarter note


def write_good_files(folder: Path, count: int) -> list[Path]:
    """Writes `count` different melodies of eight 4/4 bars as MIDI.

    Args:
        folder: Created if missing.
        count: How many.

    Returns:
        Their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        rng = np.random.default_rng(i)
        steps = rng.integers(-4, 5, size=32)
        pitches = np.clip(60 + np.cumsum(steps), 48, 84)
        path = folder / f"good_{i:03d}.mid"
        path.write_bytes(midi_bytes([(int(p), t, t + 1) for t, p in enumerate(pitches)]))
        paths.append(path)
    return paths


def write_bad_files(folder: Path) -> dict[str, str]:
    """Writes one file of every kind that goes wrong, and odd ones that should not.

    Args:
        folder: Created if missing.

    Returns:
        By file name, words of the reason for which it is left out; nothing where it is read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tune = [(60 + i % 5, i, i + 1) for i in range(32)]
    good = midi_bytes(tune)
    sequences = record(_sequence_bytes(start=0.0))
    files = {
        "text.mid": (b"these are the notes: do re mi", "not a MIDI file"),
        "cut_off.mid": (good[:40], "damaged MIDI file"),
        "zero.mid": (b"", "the file is empty"),
        "silence.mid": (midi_bytes([]), "no notes"),
        "held.mid": (midi_bytes([(60, 0, 72_000)]), "held for more than"),
        "bad_key.mid": (midi_bytes(tune, _meta(0, 0x59, b"\x63\x07")), ""),
        "no_meter.mid": (midi_bytes(tune, meter=None), ""),
        "eighth_bar.mid": (
            midi_bytes(tune, _meta(TICKS // 2, 0x58, bytes([4, 2, 24, 8])), meter=(1, 3)),
            "",
        ),
        "choir.mid": (midi_bytes(tune, program=52), ""),
        "schöne Töne ♪.mid": (good, ""),
        "negative.tfrecord": (record(_sequence_bytes(start=-1.0)), "starts before time 0"),
        "cut_off.tfrecord": (sequences[:-6], "truncated TFRecord"),
        "records.tfrecord": (sequences * 2, ""),
        "twice.abc": (_BOOK.encode(), ""),
        "prose.abc": (b"no tune here\n", "no tune in the book"),
        "no_key.abc": (b"X:1\nT:No key\nabc\n", "no K: field"),
        "broken.xml": (b"<score-partwise><part>", "MusicXML"),
        "broken.zip": (b"PK\x03\x04 and then nothing", "zip archive cannot be read"),
        "mixed.zip": (_zip({"tune.mid": good, "readme.txt": b"hello"}), ""),
        "broken.tar.gz": (b"\x1f\x8b\x08 and then nothing", "tar archive cannot be read"),
        "cover.jpg": (b"\xff\xd8\xff", "not a music file"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    huge = folder / "huge.mid"
    with huge.open("wb") as file:
        file.truncate(3 * 2**30)  # takes no room on the disk
    return {name: reason for name, (_, reason) in files.items()} | {"huge.mid": "larger than"}


_BOOK = "X:1\nT:One\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|\n\nX:1\nT:Two\nM:4/4\nL:1/4\nK:G\nGABc|dcBA|\n"


def midi_bytes(
    notes: Iterable[tuple[int, int, int]],
    *extra: bytes,
    meter: tuple[int, int] | None = (4, 2),
    program: int = 0,
) -> bytes:
    """Returns a MIDI file of one track at 120 quarter notes a minute.

    Args:
        notes: Triples of pitch, first and end quarter note, in order and not overlapping.
        *extra: Events to put first.
        meter: Numerator and power of two of the denominator; None for no time signature.
        program: General MIDI program.
    """
    events = [] if meter is None else [_meta(0, 0x58, bytes([*meter, 24, 8]))]
    events += extra
    events.append(_delta(0) + bytes([0xC0, program]))
    now = 0
    for pitch, start, end in notes:
        events.append(_delta((start - now) * TICKS) + bytes([0x90, pitch, 80]))
        events.append(_delta((end - start) * TICKS) + bytes([0x80, pitch, 0]))
        now = end
    events.append(_meta(0, 0x2F, b""))
    track = b"".join(events)
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def _meta(ticks: int, kind: int, data: bytes) -> bytes:
    return _delta(ticks) + bytes([0xFF, kind, len(data)]) + data


def _delta(ticks: int) -> bytes:
    """Returns a MIDI variable-length number."""
    groups = [ticks & 0x7F]
    while ticks := ticks >> 7:
        groups.append(ticks & 0x7F | 0x80)
    return bytes(reversed(groups))


def _sequence_bytes(start: float) -> bytes:
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence()
    sequence.notes.add(pitch=60, velocity=80, start_time=start, end_time=4.0)
    return sequence.SerializeToString()


def record(data: bytes, size: int | None = None) -> bytes:
    """Returns one record of a TFRecord file, which may state a wrong size."""
    stated = struct.pack("<Q", len(data) if size is None else size)
    checksums = [struct.pack("<I", masked_crc(each)) for each in (stated, data)]
    return stated + checksums[0] + data + checksums[1]


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
