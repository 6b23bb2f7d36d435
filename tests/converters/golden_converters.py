"""The recorded conversions, and small pieces made by hand."""

import functools
import json
import struct
from pathlib import Path

import numpy as np
from note_seq.protobuf import music_pb2

GOLDEN = Path(__file__).parents[1] / "golden" / "converters"
CONVERTERS = json.loads((GOLDEN / "manifest.json").read_text())["converters"]
STORED = 40  # windows of a piece that the recording kept
SIXTEENTH = 0.125  # seconds at 120 quarter notes a minute


def records(path):
    """Yields the NoteSequences of a TFRecord file."""
    data = path.read_bytes()
    position = 0
    while position < len(data):
        (length,) = struct.unpack("<Q", data[position : position + 8])
        yield music_pb2.NoteSequence.FromString(data[position + 12 : position + 12 + length])
        position += length + 16


@functools.cache
def sequences():
    """Returns the recorded pieces by their id."""
    return {sequence.id: sequence for sequence in records(GOLDEN / "sequences.tfrecord")}


@functools.cache
def recorded(name):
    """Returns the arrays of the converter `name`."""
    return dict(np.load(GOLDEN / f"{name}.npz"))


def decoded(name):
    """Returns the NoteSequences that the converter `name` made of its first windows."""
    return list(records(GOLDEN / f"{name}.back.tfrecord"))


def in_recorded_order(windows):
    """Returns boolean windows as the recording holds them: sorted by their bytes, the first."""
    ordered = sorted(windows, key=lambda window: window.astype(np.uint8).tobytes())
    return np.array(ordered[:STORED])


def bare(sequence):
    """Returns a copy as the original writes it: without meter and names of instruments."""
    copy = music_pb2.NoteSequence()
    copy.CopyFrom(sequence)
    del copy.time_signatures[:], copy.instrument_infos[:]
    return copy


def in_order(sequence):
    """Returns a copy with its notes sorted by instrument, start and pitch."""
    ordered = music_pb2.NoteSequence()
    ordered.CopyFrom(sequence)
    ordered.notes.sort(key=lambda note: (note.instrument, note.start_time, note.pitch))
    return ordered


def piece(*notes, program=0, instrument=0, is_drum=False, velocity=80, meter=(4, 4), to=None):
    """Returns notes (pitch, first step, end step) at 120 quarter notes a minute; added to `to`."""
    sequence = to
    if sequence is None:
        sequence = music_pb2.NoteSequence()
        sequence.tempos.add(qpm=120)
        sequence.time_signatures.add(numerator=meter[0], denominator=meter[1])
    for pitch, start, end in notes:
        sequence.notes.add(
            pitch=pitch,
            velocity=velocity,
            start_time=start * SIXTEENTH,
            end_time=end * SIXTEENTH,
            program=program,
            instrument=instrument,
            is_drum=is_drum,
        )
    return sequence


def drums(*hits, **kwargs):
    """Returns drum hits (pitch, step), each a step long."""
    return piece(*[(pitch, step, step + 1) for pitch, step in hits], is_drum=True, **kwargs)
