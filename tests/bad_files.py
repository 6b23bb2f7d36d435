"""Files as bad as users' folders have them, and good ones; all of the music is made up here."""

from __future__ import annotations

import io
import os
import struct
import tarfile
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
        "digits.abc": (b"X:1\nK:C\nC" + b"9" * 5000, "a number of more than 6 digits"),
        "long_line.abc": (b"X:1\nK:C\n" + b"C" * 30_000, "a line longer than"),
        "endless.abc": (b"X:1\nK:C\nP:" + b"(" * 99 + b"\nZ999999|" * 99, "longer than 10,000"),
        "wide.abc": (b"\xff\xfe" + _BOOK.encode("utf-16-le"), ""),
        "broken.xml": (b"<score-partwise><part>", "MusicXML"),
        "deep.xml": (b"<score-partwise>" + b"<part>" * 10**5, "MusicXML"),
        "entities.xml": (b"<!DOCTYPE a [<!ENTITY b 'c'>]><score-partwise/>", "XML entities"),
        "page.xml": (b"<html/>", "not a score"),
        "bomb.mxl": (_zip({"a.xml": bytes(40 * 2**20)}), "more than 32 MB of XML"),
        "not_a_number.tfrecord": (record(_sequence_bytes(start=float("nan"))), "no notes"),
        "far.tfrecord": (record(_sequence_bytes(start=1e11)), "longer than 3 hours"),
        "long_record.tfrecord": (record(b"", size=2**60), "truncated TFRecord"),
        "other.tfrecord": (record(b"\xff" * 9), "not a NoteSequence"),
        "broken.zip": (b"PK\x03\x04 and then nothing", "zip archive cannot be read"),
        "mixed.zip": (_zip({"tune.mid": good, "readme.txt": b"hello"}), ""),
        "empty.zip": (_zip({".hidden.mid": good, "folder/": b""}), "no file in the archive"),
        "no_name.zip": (_zip({"x": good}, named=False), "not a music file"),
        "nested.zip": (_zip({"in.zip": _zip({"in.tar": b"?", "a.mid": good})}), ""),
        "pax.tar": (_tar("a.mid", {"size": "-10240"}), "points backwards"),
        "long_pax.tar": (_tar("a.mid", {"comment": "x" * 2**20}), "a header of"),
        "empty.tar": (bytes(1024), "no file in the archive"),
        "empty.wad": (b"PWAD" + struct.pack("<ii", 0, 12), "no lump"),
        "broken.wad": (b"IWAD" + struct.pack("<ii", 10**9, 12), "damaged WAD file"),
        "broken.tar.gz": (b"\x1f\x8b\x08 and then nothing", "tar archive cannot be read"),
        "cover.jpg": (b"\xff\xd8\xff", "not a music file"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    # These take no room on the disk.
    with (folder / "huge.mid").open("wb") as file:
        file.truncate(3 * 2**30)
    with (folder / "huge.zip").open("wb") as file:
        file.seek(2**31)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2**31 - 1, 0, 0))
    (folder / "gone.mid").symlink_to("nothing")
    os.mkfifo(folder / "pipe.mid")
    reasons = {
        "huge.mid": "larger than",
        "huge.zip": "a header of 2,147,483,647 bytes",
        "gone.mid": "link to a file that is not there",
        "pipe.mid": "not a file",
    }
    return reasons | {name: reason for name, (_, reason) in files.items()}


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
    sequence.notes.add(pitch=60, velocity=80, start_time=start, end_time=start + 1)
    return sequence.SerializeToString()


def record(data: bytes, size: int | None = None) -> bytes:
    """Returns one record of a TFRecord file, which may state a wrong size."""
    stated = struct.pack("<Q", len(data) if size is None else size)
    checksums = [struct.pack("<I", masked_crc(each)) for each in (stated, data)]
    return stated + checksums[0] + data + checksums[1]


def _zip(members: dict[str, bytes], named: bool = True) -> bytes:
    """Returns a zip archive whose directory has the names, or not that of the first file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    data = buffer.getvalue()
    sizes = data.index(b"PK\1\2") + 28  # of the name and of what stands behind it
    return data if named else data[:sizes] + b"\0\0\1\0" + data[sizes + 4 :]


def _tar(name: str, headers: dict[str, str]) -> bytes:
    """Returns a tar archive of an empty file with extended headers."""
    entry = tarfile.TarInfo(name)
    entry.pax_headers = headers
    return entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
