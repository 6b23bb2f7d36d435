"""What the networks of a model of grooves read, in NumPy."""

from __future__ import annotations

import numpy as np

from magenta_lite.converters import drum_classes
from magenta_lite.converters.base import EventFormat


def network_input(events: np.ndarray, form: EventFormat) -> np.ndarray:
    """Returns the input of the encoder network for a groove, without note dropout.

    Args:
        events: Float (..., T, 27).
        form: The format of a model of grooves.

    Returns:
        Float (..., T, 27).
    """
    shape = events.shape
    groove = events.reshape(*shape[:-1], 3, form.sizes[0]).copy()  # hits, velocities, offsets
    velocities, offsets = groove[..., 1, :], groove[..., 2, :]  # views
    if "tapify" in form.input_changes:
        loudest = velocities.argmax(-1)[..., None, None]
        tap = np.take_along_axis(groove, loudest, axis=-1)[..., 0]
        groove[...] = 0
        groove[..., drum_classes.OPEN_HI_HAT] = tap
    if "humanize" in form.input_changes:
        velocities[...] = 0
        offsets[...] = 0
    if "fixed_velocities" in form.input_changes:
        velocities[...] = 0
    groove[..., list(form.hidden_classes)] = 0
    return groove.reshape(shape)


def hit_controls(events: np.ndarray, form: EventFormat) -> np.ndarray:
    """Returns the control `hits` of both networks: the hits of a groove, (..., T, D)."""
    return events[..., : form.sizes[0]]
