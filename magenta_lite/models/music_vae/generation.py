"""What `generate` does with a MusicVAE: sample, reconstruct, interpolate."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.models.music_vae.inference import inference_functions

MODES = ("sample", "reconstruct", "interpolate")


def generate(model, encoder, request) -> list:
    """Returns the NoteSequences that `request`, a `GenerateRequest`, asks for.

    Raises:
        UserError: If the mode needs other inputs, or an input gives no window.
    """
    functions = inference_functions(model)
    sampling = {
        "temperature": tf.constant(request.temperature, tf.float32),
        "seed": tf.constant(request.seed, tf.int32),
    }
    if request.mode == "sample":
        if request.inputs:
            raise UserError("--mode=sample takes no --input; did you mean --mode=reconstruct?")
        events = functions["sample"](tf.constant(request.num_outputs), **sampling)["events"]
    elif request.mode == "reconstruct":
        events = _reconstruct(functions, encoder, request, sampling)
    else:
        events = _interpolate(functions, encoder, request, sampling)
    return [encoder.decode(row, qpm=request.qpm, program=request.program) for row in events.numpy()]


def _reconstruct(functions, encoder, request, sampling):
    if not request.inputs:
        raise UserError("--mode=reconstruct needs at least one --input=FILE")
    windows = [w for name, tune in request.inputs for w in _windows(encoder, request, name, tune)]
    events, length = _batch(windows, encoder.window_steps)
    mu = functions["encode"](events, length)["mu"]
    decoded = functions["decode"](mu, **sampling)["events"]
    same = np.mean(decoded.numpy() == events.numpy())
    print(f"{len(windows)} windows; {same:.1%} of their steps come out as they went in")
    return decoded


def _interpolate(functions, encoder, request, sampling):
    if len(request.inputs) != 2:
        raise UserError(
            f"--mode=interpolate needs two --input files, the start and the end; "
            f"it got {len(request.inputs)}"
        )
    if request.num_outputs < 2:
        raise UserError(f"--num_outputs={request.num_outputs} must be 2 or more to interpolate")
    ends = [_windows(encoder, request, name, tune)[0] for name, tune in request.inputs]
    (start, end), _ = _batch(ends, encoder.window_steps)
    number = tf.constant(request.num_outputs)
    return functions["interpolate"](start, end, number, **sampling)["events"]


def _windows(encoder, request, name, tune) -> list[np.ndarray]:
    """Returns the windows of `tune` that --window chooses."""
    result = encoder.encode(tune)
    if not result.examples and not encoder.config.pad_edges:
        # Silence in the first or last bar is no reason to refuse what a user brings.
        padded = type(encoder)(dataclasses.replace(encoder.config, pad_edges=True))
        result = padded.encode(tune)
    count = len(result.examples)
    if not count:
        reasons = "; ".join(f"{reason} ({n})" for reason, n in result.report.dropped.items())
        raise UserError(f"{name} gives no window of {encoder.config.bars} bars: {reasons}")
    if request.window == "all":
        return result.examples
    if not request.window.isdigit() or not 1 <= int(request.window) <= count:
        raise UserError(f"--window={request.window}: {name} has windows 1 to {count}, or all")
    if count > 1:
        print(f"{name}: window {request.window} of {count}; choose another with --window")
    return [result.examples[int(request.window) - 1]]


def _batch(windows, steps):
    """Pads windows with zeros to int32 (B, T) and lengths (B,)."""
    events = np.zeros((len(windows), steps), np.int32)
    for row, window in zip(events, windows, strict=True):
        row[: len(window)] = window
    return tf.constant(events), tf.constant([len(window) for window in windows], tf.int32)
