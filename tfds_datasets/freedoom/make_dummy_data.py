"""Writes the dummy data of the builder test: arranged random tunes in WAD files.

python -m tfds_datasets.freedoom.make_dummy_data
"""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

from magenta_lite.data import abc
from magenta_lite.data.synthetic import arranging
from tfds_datasets.make_dummy_data import abc as as_abc
from tfds_datasets.make_dummy_data import melody

FOLDER = Path(__file__).parent / "dummy_data"
BARS = 18


def song(number: int) -> bytes:
    """Returns a MIDI file: a random tune with bass and drums."""
    import note_seq

    notes = melody(random.Random(number), BARS)
    sequence = arranging.arrange(abc.read_tune(as_abc(number, notes)), f"song {number}")
    buffer = io.BytesIO()
    note_seq.note_sequence_to_pretty_midi(sequence).write(buffer)
    return buffer.getvalue()


def wad(kind: bytes, lumps: list[tuple[str, bytes]]) -> bytes:
    """Returns a WAD file with lumps given as (name, content) pairs."""
    body, directory = b"", b""
    for name, content in lumps:
        directory += struct.pack("<ii8s", 12 + len(body), len(content), name.encode())
        body += content
    return struct.pack("<4sii", kind, len(lumps), 12 + len(body)) + body + directory


def main() -> None:
    """Rewrites the folder."""
    FOLDER.mkdir(exist_ok=True)
    first = [(f"D_E1M{i}", song(i)) for i in range(1, 6)]
    second = [(f"D_MAP0{i}", song(10 + i)) for i in range(1, 5)]
    others = [("MAP01", b""), ("THINGS", bytes(20)), ("D_OLD", b"MUS\x1a" + bytes(16))]
    (FOLDER / "freedoom1.wad").write_bytes(wad(b"IWAD", [*first, *others]))
    (FOLDER / "freedoom2.wad").write_bytes(wad(b"PWAD", [*second, ("D_AGAIN", first[0][1])]))
    (FOLDER / "freedm.wad").write_bytes(wad(b"PWAD", second)[:1000])


if __name__ == "__main__":
    main()
