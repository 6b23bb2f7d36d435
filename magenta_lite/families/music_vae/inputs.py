"""Inputs of the encoder network, and controls of encoder and decoders, at every step."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from magenta_lite.converters.base import CHORD_CLASSES, EventFormat
from magenta_lite.modeling.music_model import RandomInput
from magenta_lite.typing import Tensor

OPEN_HI_HAT = 3  # the drum class of taps
LEAST_DROPOUT = 0.2  # dropout rate of a note at full velocity / rate of the example


def input_size(events: EventFormat) -> int:
    """Returns the input size I of the encoder network per step, without controls."""
    if events.kind == "groove":
        return 3 * events.sizes[0]
    if events.kind == "roll":
        return events.sizes[0] + 1
    return events.input_bits + 1 if events.input_bits else sum(events.sizes)


def control_size(events: EventFormat) -> int:
    """Returns the size C of the controls of encoder and decoders per step."""
    return {"": 0, "chords": CHORD_CLASSES, "hits": events.sizes[0]}[events.control]


def control_vectors(events_format: EventFormat, controls: Tensor, dtype: Any) -> Tensor:
    """Returns controls as vectors (..., C): chord classes int (...), or hits float (..., D)."""
    if events_format.control == "chords":
        return tf.one_hot(controls, CHORD_CLASSES, dtype=dtype)
    return tf.cast(controls, dtype)


def random_inputs(events: EventFormat, steps: int) -> dict[str, RandomInput]:
    """Returns the random numbers of note dropout for an example of `steps` steps."""
    if not events.max_note_dropout:
        return {}
    return {"hidden_notes": RandomInput("uniform", (1 + steps * events.sizes[0],))}


def network_input(
    events_format: EventFormat,
    events: Tensor,
    head: Any,
    dtype: Any,
    hidden_notes: Tensor | None = None,
) -> Tensor:
    """Returns events (T, B, *event_shape) as inputs of the encoder network: float (T, B, I).

    `hidden_notes` are the uniforms of note dropout, float (B, 1 + T * D); None for no note dropout.
    """
    if events_format.kind == "groove":
        return tf.cast(_groove_input(events_format, events, hidden_notes), dtype)
    if events_format.kind == "roll":
        return _with_silence_bit(tf.cast(events, dtype))
    if events_format.input_bits:
        bits = events[..., None] // 2 ** tf.range(events_format.input_bits)
        return _with_silence_bit(tf.cast(bits % 2, dtype))
    return head.vector(events, dtype)


def _with_silence_bit(bits):
    """Adds a last channel that is 1 where all others are 0."""
    silent = 1 - tf.reduce_max(bits, axis=-1, keepdims=True)
    return tf.concat([bits, silent], axis=-1)


def _groove_input(events_format, events, hidden_notes):
    if hidden_notes is not None:
        events *= tf.tile(_kept_notes(events_format, events, hidden_notes), [1, 1, 3])
    hits, velocities, offsets = tf.split(events, 3, axis=-1)
    changes = events_format.input_changes
    if "tapify" in changes:
        hits, velocities, offsets = _taps(hits, velocities, offsets)
    if "humanize" in changes:
        velocities, offsets = tf.zeros_like(velocities), tf.zeros_like(offsets)
    if "fixed_velocities" in changes:
        velocities = tf.zeros_like(velocities)
    joined = tf.concat([hits, velocities, offsets], axis=-1)
    size = events_format.sizes[0]
    seen = [float(i not in events_format.hidden_classes) for i in range(size)]
    return joined * tf.constant(seen * 3)


def _kept_notes(events_format, events, uniforms):
    """Returns the mask of note dropout, (T, B, D): 1 for visible notes, 0 for hidden ones."""
    size = events_format.sizes[0]
    rate = uniforms[:, 0] * events_format.max_note_dropout  # (B,)
    of_notes = tf.reshape(uniforms[:, 1:], [tf.shape(uniforms)[0], events.shape[0], size])
    velocities = events[..., size : 2 * size]
    probability = rate[:, None] * tf.maximum(LEAST_DROPOUT, 1 - velocities)
    return tf.cast(tf.transpose(of_notes, [1, 0, 2]) >= probability, tf.float32)


def _taps(hits, velocities, offsets):
    """Moves the loudest hit of each step to one class, and removes the others."""
    size = hits.shape[-1]
    loudest = tf.one_hot(tf.argmax(velocities, axis=-1), size)
    place = tf.one_hot(OPEN_HI_HAT, size)
    return [
        tf.reduce_sum(part * loudest, axis=-1, keepdims=True) * place
        for part in (hits, velocities, offsets)
    ]
