"""Files beside a SavedModel for those who serve it: what it takes, examples, and a warm-up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from magenta_lite.serving.notes import note_reader

SIGNATURE = "serving_default"
WARM_UP = "tf_serving_warmup_requests"  # the name that TensorFlow Serving looks for

# What each input and output of the default signatures is, for a row.
MEANINGS = {
    "seed": "Seed of all random numbers of the row; the same seed gives the same music.",
    "temperature": "Divides the logits: 1 samples as learned, 0 takes the most probable event.",
    "top_p": "Keeps the most probable events that together reach this probability; 1 keeps all.",
    "qpm": "Quarter notes a minute, for the times of the notes.",
    "primer": "Events that the piece begins with, padded to the longest primer.",
    "primer_length": "Number of events of the primer; 0 for none.",
    "num_steps": "Number of steps to add to the primer.",
    "num_tokens": "Length of the piece in events at most, with the primer.",
    "chords": "Ids of the chords of the steps, padded; the last one goes on to the end.",
    "chords_length": "Number of chords.",
    "controls": "Chord class of each step, or hits of each step and drum.",
    "melody": "Melody to accompany: an id every 100 ms, padded with 0.",
    "style": "Id of the style; 0 for open.",
    "families": "Sum of drums 1, winds 2, harp 4, guitar 8, bass 16, strings 32, piano 64; 0 open.",
    "strict": "Whether no other instruments play.",
    "minutes": "Length in minutes; 0 for open.",
    "given": "Codes of the prompt, padded.",
    "given_length": "Number of codes, or of frames of codes, of the prompt; 0 for none.",
    "num_codes": "Number of codes, or of frames of codes, with the prompt.",
    "labels": "Length of the piece, offset and length of the context in samples; artist, genres "
    "(-1 for none) and characters of the lyrics.",
    "above": "Codes of the level above.",
    "audio": "Samples by channel, in [-1, 1]; their number is a multiple of the hop length.",
    "events": "Events in the encoding of the converter.",
    "num_events": "Number of events before the padding.",
    "codes": "Codes, from the prompt on; -1 after the last.",
    "pitch": "MIDI pitch of each note, or the drum.",
    "start": "Onset of each note in seconds.",
    "end": "End of each note in seconds.",
    "velocity": "MIDI velocity of each note.",
    "program": "General MIDI program of each note.",
    "is_drum": "Whether each note is a drum, for MIDI channel 10.",
    "num_notes": "Number of notes; zeros follow.",
}


def write_assets(
    folder: Path,
    name: str,
    converter: Any,
    arguments: dict[str, Any],
    results: dict[str, Any],
    rows: bool = True,
) -> None:
    """Writes `description.json`, `request.json` and warm-up requests into `assets.extra`.

    Args:
        folder: Folder `assets.extra` of the SavedModel.
        name: Name of the configuration.
        converter: Converter of the events.
        arguments: Arguments of the default signature.
        results: What it returns for them.
        rows: Whether the first axis of all of them is that of rows.
    """
    description = {
        "configuration": name,
        "signature": SIGNATURE,
        "rows": rows,  # which do not depend on one another
        "inputs": _described(arguments, rows),
        "outputs": _described(results, rows),
        "encoding": {
            "events": dataclasses.asdict(converter.event_format),
            "converter": converter.to_json(),
        },
    }
    if reader := note_reader(converter):
        rates = reader.steps_per_quarter, reader.steps_per_second
        names = "steps_per_quarter", "steps_per_second"
        description["encoding"] |= {k: v for k, v in zip(names, rates, strict=True) if v}
    _write_json(folder / "description.json", description)
    columns = {key: np.array(value).tolist() for key, value in arguments.items()}
    asked: dict[str, Any] = {"inputs": columns}
    if rows:
        each = zip(*columns.values(), strict=True)
        asked = {"instances": [dict(zip(columns, row, strict=True)) for row in each]}
    _write_json(folder / "request.json", {"signature_name": SIGNATURE, **asked})
    first = {key: value[:1] if rows else value for key, value in arguments.items()}
    with tf.io.TFRecordWriter(str(folder / WARM_UP)) as writer:
        writer.write(prediction_log(name, first))


def _described(tensors: dict[str, Any], rows: bool) -> dict[str, dict[str, Any]]:
    """Returns type, number of axes (besides that of rows), and meaning of each tensor."""
    return {
        key: {
            "dtype": tf.as_dtype(tensor.dtype).name,
            "axes": len(tensor.shape) - rows,
            "meaning": meaning(key),
        }
        for key, tensor in tensors.items()
    }


def meaning(name: str) -> str:
    """Returns what an input or output is; empty for those of other families."""
    if name.startswith("audio_"):
        return "Samples by channel, from the codes of a level; 0 is the finest."
    return MEANINGS.get(name, "")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", "utf-8")


# TensorFlow comes without the messages of TensorFlow Serving. These few fields are written by their
# numbers in `prediction_log.proto`, `predict.proto` and `model.proto` of tensorflow_serving/apis.


def prediction_log(model: str, arguments: dict[str, Any]) -> bytes:
    """Returns a serialized `PredictionLog` of a request to the default signature."""
    spec = _field(1, model.encode()) + _field(3, SIGNATURE.encode())  # name, signature_name
    request = _field(1, spec)
    for name, value in arguments.items():
        tensor = tf.make_tensor_proto(np.array(value)).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))  # an entry of a map
    return _field(6, _field(1, request))  # predict_log, its request


def _field(number: int, content: bytes) -> bytes:
    """Returns a field of bytes, a text or a message in the wire format of protocol buffers."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    high, low = divmod(number, 128)
    return bytes([low]) if not high else bytes([low | 128]) + _varint(high)
