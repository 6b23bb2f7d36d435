"""What `generate` does with a MusicVAE: sample, reconstruct, interpolate, add an attribute."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import tensorflow as tf

from magenta_lite.encoders.chords import parse_chords
from magenta_lite.errors import UserError
from magenta_lite.models.music_vae.inference import inference_functions
from magenta_lite.models.music_vae.latents import load_attribute
from magenta_lite.models.music_vae.model import slerp

MODES = ("sample", "reconstruct", "interpolate", "attribute")


def generate(model, encoder, request) -> list:
    """Returns the NoteSequences that `request`, a `GenerateRequest`, asks for.

    Raises:
        UserError: If the mode needs other inputs, or an input gives no window.
    """
    return _Generation(model, encoder, request).sequences()


class _Generation:
    """One request. A piece is a list of windows: one, or as many as --bars asks for."""

    def __init__(self, model, encoder, request):
        self.model = model
        self.encoder = encoder
        self.request = request
        self.functions = inference_functions(model)
        # Users' files have more drums than the training set of a groove knew.
        self.reader = encoder.for_inference() if hasattr(encoder, "for_inference") else encoder
        self.bars = getattr(encoder.config, "bars", 1)  # of a window
        self.windows = math.ceil(request.bars / self.bars) if request.bars else 1

    def sequences(self) -> list:
        request = self.request
        if request.mode == "sample":
            z = self._prior_draws()
        elif request.mode == "reconstruct":
            given = self._inputs()
            z = self._posterior_means(given)
        elif request.mode == "attribute":
            z = self._posterior_means(self._inputs())
            z = z + request.amount * load_attribute(request.attribute, z.shape[-1])
        else:
            z = self._arcs()
        events = self._decode(z)
        if request.mode == "reconstruct":
            _tell_what_came_back(given, events)
        return [self._stitched(piece) for piece in events]

    # Latent vectors, float (pieces, windows, Z) ----------------------------------------------

    def _prior_draws(self):
        """Draws one latent vector a piece; for more windows, points on the arc to another one."""
        request, size = self.request, self.model.model_config.latent_size
        if request.inputs and self.model.events_format.control != "hits":
            raise UserError("--mode=sample takes no --input; did you mean --mode=reconstruct?")
        seed, count = [request.seed, 0], request.num_outputs
        z = tf.random.stateless_normal([count, size], seed).numpy()
        if self.windows == 1:
            return z[:, None]
        ends = tf.random.stateless_normal([count, size], [request.seed, 2]).numpy()
        return np.stack([slerp(a, b, self.windows) for a, b in zip(z, ends, strict=True)])

    def _arcs(self):
        request = self.request
        if len(request.inputs) != 2:
            raise UserError(
                f"--mode=interpolate needs two --input files, the start and the end; "
                f"it got {len(request.inputs)}"
            )
        if request.num_outputs < 2:
            raise UserError(f"--num_outputs={request.num_outputs} must be 2 or more to interpolate")
        ends = [self._windows_of(name, tune)[: self.windows] for name, tune in request.inputs]
        start, end = self._posterior_means(ends)
        arcs = [slerp(a, b, request.num_outputs) for a, b in zip(start, end, strict=True)]
        return np.stack(arcs, axis=1)

    def _posterior_means(self, pieces):
        examples = [window for piece in pieces for window in piece]
        events = np.stack([events for events, _ in examples])
        arguments = {
            "events": tf.cast(events, self.model.head.event_dtype),
            "length": tf.fill([len(events)], self.model.length),
        }
        if self.model.events_format.control == "chords":
            chords = np.stack([chords for _, chords in examples])
            arguments["controls"] = tf.constant(chords, tf.int32)
        mu = self.functions["encode"](**arguments)["mu"].numpy()
        return mu.reshape(len(pieces), -1, mu.shape[-1])

    # Inputs: a window is a pair of events and chords -------------------------------------------

    def _inputs(self):
        request = self.request
        if not request.inputs:
            raise UserError(f"--mode={request.mode} needs at least one --input=FILE")
        pieces = [self._windows_of(name, tune) for name, tune in request.inputs]
        if request.bars:
            return pieces
        return [[window] for piece in pieces for window in piece]

    def _windows_of(self, name, tune) -> list:
        if self.request.bars:
            return self._consecutive_windows(name, tune)
        windows, report = _examples(self.reader, tune)
        if not windows:
            raise UserError(f"{name} gives no window: {_reasons(report)}")
        number, count = self.request.window, len(windows)
        if number == "all":
            return windows
        if not number.isdigit() or not 1 <= int(number) <= count:
            raise UserError(f"--window={number}: {name} has windows 1 to {count}, or all")
        if count > 1:
            print(f"{name}: window {number} of {count}; choose another with --window")
        return [windows[int(number) - 1]]

    def _consecutive_windows(self, name, tune) -> list:
        """Cuts a piece into windows side by side, silence where nothing fits."""
        from note_seq import sequences_lib

        seconds = self.bars * 240 / (tune.tempos[0].qpm if tune.tempos else 120)
        reader = _padding(self.reader)
        windows, silent = [], 0
        for i in range(self.windows):
            start = i * seconds
            found = []
            if start < tune.total_time:
                end = min(start + seconds, tune.total_time)
                found = reader.encode(sequences_lib.extract_subsequence(tune, start, end))
            examples = _pairs(found) if found else []
            silent += not examples
            windows.append(examples[0] if examples else self._silence())
        if silent == self.windows:
            raise UserError(f"{name} gives nothing in its first {self.request.bars} bars")
        if silent:
            print(f"{name}: {silent} of {self.windows} windows are silent or hold nothing usable")
        return windows

    def _silence(self):
        events_format = self.encoder.event_format
        shape = (self.model.length, *events_format.event_shape)
        events = np.zeros(shape, events_format.event_dtype)
        if events_format.segments > 1:
            events[:: self.model.length // events_format.segments] = events_format.end_id
        return events, np.zeros(self.model.length, np.uint8)

    # Decoding ----------------------------------------------------------------------------------

    def _decode(self, z):
        """Returns events (pieces, windows, T, ...) of latent vectors (pieces, windows, Z)."""
        pieces, windows, size = z.shape
        arguments = {
            "temperature": tf.constant(self.request.temperature, tf.float32),
            "seed": tf.constant(self.request.seed, tf.int32),
        }
        decode, rows = self.functions["decode"], tf.constant(z.reshape(-1, size), tf.float32)
        if not self.model.events_format.control:
            events = decode(rows, **arguments)["events"].numpy()
            return events.reshape(pieces, windows, *events.shape[1:])
        columns = [
            decode(tf.constant(z[:, i], tf.float32), controls=told, **arguments)["events"].numpy()
            for i, told in enumerate(self._told(windows))
        ]
        return np.stack(columns, axis=1)

    def _told(self, windows: int) -> list:
        """Returns chords (T,) or hits (T, D) of each window."""
        steps = self.model.length
        if self.model.events_format.control == "chords":
            if not self.request.chords:
                raise UserError(
                    'this model follows chords: give them with --chords, e.g. --chords="C G Am F"'
                )
            chords = parse_chords(self.request.chords, windows * steps)
            return [tf.constant(part, tf.int32) for part in np.split(chords, windows)]
        if not self.request.inputs:
            raise UserError("this model follows given hits: give a drum pattern with --input=FILE")
        name, tune = self.request.inputs[0]
        size = self.model.events_format.sizes[0]
        found = self._windows_of(name, tune)
        return [tf.constant(found[i % len(found)][0][:, :size]) for i in range(windows)]

    def _stitched(self, piece):
        from note_seq import sequences_lib

        request = self.request
        decoded = [
            self.encoder.decode(events, qpm=request.qpm, programs=request.programs or None)
            for events in piece
        ]
        if len(decoded) == 1:
            return decoded[0]
        seconds = self.bars * 240 / request.qpm
        return sequences_lib.concatenate_sequences(decoded, [seconds] * len(decoded))


def _padding(encoder):
    """Returns `encoder` so that silence at the edges of a window is no reason to refuse it."""
    return type(encoder)(dataclasses.replace(encoder.config, pad_edges=True))


def _examples(encoder, tune):
    """Returns windows of a piece and the report; silent edges are kept if nothing fits else."""
    result = encoder.encode(tune)
    if not result.examples and not encoder.config.pad_edges:
        result = _padding(encoder).encode(tune)
    return _pairs(result), result.report


def _pairs(result) -> list:
    controls = result.controls or [None] * len(result.examples)
    return list(zip(result.examples, controls, strict=True))


def _reasons(report) -> str:
    return "; ".join(f"{reason} ({n})" for reason, n in report.dropped.items())


def _tell_what_came_back(given, events) -> None:
    given = np.stack([[window for window, _ in piece] for piece in given])
    tolerance = 0.5 if events.dtype.kind == "f" else 0  # of a groove: hit or no hit
    same = np.isclose(events, given, atol=tolerance, rtol=0).reshape(*given.shape[:3], -1)
    count = given.shape[0] * given.shape[1]
    print(
        f"{count} windows; {same.all(axis=-1).mean():.1%} of their steps come out as they went in"
    )
