"""Made-up examples in any converter's format, to try a model without data."""

from __future__ import annotations

from typing import Any

import numpy as np

from magenta_lite.converters.base import CHORD_CLASSES, EventFormat


def made_up_events(events: EventFormat, count: int, steps: int, seed: int = 0) -> np.ndarray:
    """Returns random but valid events (count, steps, *event_shape) of the format's event_dtype."""
    rng = np.random.default_rng(seed)
    if events.kind == "groove":
        size = events.sizes[0]
        hits = rng.random((count, steps, size)) < 0.2
        velocities, offsets = rng.random(hits.shape), rng.uniform(-1, 1, hits.shape)
        made = np.concatenate([hits, hits * velocities, hits * offsets], axis=-1)
    elif events.kind == "roll":
        made = rng.random((count, steps, events.sizes[0])) < 0.2
    else:
        parts = [rng.integers(0, size, (count, steps)) for size in events.sizes]
        # Most steps are "no event", as in music.
        parts = [np.where(rng.random(part.shape) < 0.5, part, 0) for part in parts]
        made = np.stack(parts, axis=-1).reshape(count, steps, *events.event_shape)
    if events.segments > 1:
        end: Any = events.end_id  # segments have one
        segments = made.reshape(count, events.segments, -1)
        segments[segments == end] = 0
        length = segments.shape[-1]
        ends = rng.integers(0, length, (count, events.segments))
        segments[np.arange(length) == ends[..., None]] = end
        segments[np.arange(length) > ends[..., None]] = 0
        made = segments.reshape(count, steps)
    return made.astype(events.event_dtype)


def made_up_chords(count: int, steps: int, seed: int = 0) -> np.ndarray:
    """Returns random chord classes uint8 (count, steps), one for each half of an example."""
    halves = np.random.default_rng(seed).integers(0, CHORD_CLASSES, (count, 2))
    return np.repeat(halves, steps // 2, axis=1).astype(np.uint8)
