"""What may be asked of a MusicVAE; no TensorFlow."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from magenta_lite.converters.chords import typed_symbols
from magenta_lite.errors import UserError

DRAWS = True


def modes(converter) -> tuple[str, ...]:
    """Returns what a model can do."""
    del converter
    return ("sample", "reconstruct", "interpolate", "attribute")


def options(converter) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    del converter
    return ("bars", "chords", "attribute", "amount", "prior")


def check(converter, request) -> None:
    """Raises: UserError if the mode needs other inputs, or chords or an attribute are none."""
    mode, count, control = request.mode, len(request.inputs), converter.event_format.control
    if mode == "sample" and count and control != "hits":
        raise UserError("--mode=sample takes no --input; did you mean --mode=reconstruct?")
    if mode != "sample" and request.prior != type(request).prior:
        raise UserError(
            f"--prior={request.prior} says what --mode=sample draws from; --mode={mode} draws "
            "nothing"
        )
    if mode == "interpolate" and count != 2:
        raise UserError(
            f"--mode=interpolate needs two --input files, the start and the end; it got {count}"
        )
    if mode == "interpolate" and request.window == "all":
        raise UserError("--mode=interpolate goes from one window to one: give --window=NUMBER")
    if mode == "interpolate" and request.num_outputs < 2:
        raise UserError(f"--num_outputs={request.num_outputs} must be 2 or more to interpolate")
    if mode in ("reconstruct", "attribute") and not count:
        raise UserError(f"--mode={mode} needs at least one --input=FILE")
    if mode == "attribute":
        load_attribute(request.attribute)
    if request.chords and control != "chords":
        raise UserError(f"--chords={request.chords}: this model does not follow chords")
    if request.chords:
        typed_symbols(request.chords)
    if control and mode == "sample" and not (count or request.chords):
        raise UserError(
            {
                "chords": "this model follows chords: give them with --chords, e.g. "
                '--chords="C G Am F"',
                "hits": "this model follows given hits: give a drum pattern with --input=FILE",
            }[control]
        )


def load_attribute(path: str) -> np.ndarray:
    """Returns the attribute vector in `path`, float32 (Z,). Raises: UserError if it is none."""
    if not path:
        raise UserError("--mode=attribute needs --attribute=FILE.npz, see magenta_lite.latents")
    try:
        vector = np.load(Path(path).expanduser())["attribute"].astype(np.float32)
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not an attribute vector ({error})") from error
    if vector.ndim != 1:
        raise UserError(f"{path} holds an array of shape {list(vector.shape)}, not a vector")
    return vector
