"""Copies recorded performance encodings here, without those of most chorales.

python tests/golden/shrink_performances.py FOLDER_OF_RECORDINGS

`performances.tfrecord` has the pieces, with pedal; `ids.npz` what performance_rnn's converters made
of them (`388/ID` with dynamics, `356/ID` without), and `odd/N`, streams in the vocabulary of 310
ids that no converter gives, of which `odd_decoded.tfrecord` is the music.
"""

import shutil
import struct
import sys
from pathlib import Path

import numpy as np
from note_seq.protobuf import music_pb2

HERE = Path(__file__).parent / "performances"
CHORALES = ("chorale_bwv1.6", "chorale_bwv10.7")
RENAMED = {
    "performance_rnn_ids": "388",
    "performance_rnn_no_velocity_ids": "356",
    "odd_ids": "odd",
}


def main() -> None:
    source = Path(sys.argv[1])
    HERE.mkdir(exist_ok=True)
    shutil.copy(source / "odd_decoded.tfrecord", HERE)
    data, position, kept = (source / "performances.tfrecord").read_bytes(), 0, set()
    with (HERE / "performances.tfrecord").open("wb") as file:
        while position < len(data):
            (length,) = struct.unpack("<Q", data[position : position + 8])
            record = data[position : position + length + 16]
            name = music_pb2.NoteSequence.FromString(record[12:-4]).id
            if not name.startswith("chorale") or name in CHORALES:
                file.write(record)
                kept.add(name)
            position += length + 16
    arrays = {}
    for key, ids in np.load(source / "encoders.npz").items():
        folder, _, name = key.partition("/")
        if folder in RENAMED and (folder == "odd_ids" or name in kept):
            arrays[f"{RENAMED[folder]}/{name}"] = ids
    np.savez_compressed(HERE / "ids.npz", **arrays)


if __name__ == "__main__":
    main()
