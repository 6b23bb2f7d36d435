"""Notes that a served model returns with its events: those of the converters."""

import numpy as np
import pytest
import tensorflow as tf
from golden_converters import sequences
from test_all_converters import CONFIGS

from magenta_lite.config import get_config
from magenta_lite.converters import CONVERTERS, build_converter
from magenta_lite.converters.base import EventFormat
from magenta_lite.errors import UserError
from magenta_lite.serving.notes import note_reader

QPM = 90.0
FIELDS = ("start", "pitch", "end", "velocity", "program", "is_drum")


def rows(converter) -> list[np.ndarray]:
    """Returns encoded pieces, and events at random, of which every sequence is valid."""
    form: EventFormat = converter.event_format
    pieces = list(sequences().values())[:12]
    found = [events for piece in pieces for events in converter.encode(piece).examples[:2]]
    rng = np.random.default_rng(0)
    steps = converter.window_steps if form.segments > 1 else min(converter.window_steps, 200)
    for _ in range(4):
        if form.kind == "groove":
            found.append(rng.uniform(-0.2, 1.2, (steps, 3 * form.sizes[0])).astype(np.float32))
        elif form.kind == "roll":
            found.append(rng.integers(0, 2, (steps, form.sizes[0])))
        elif form.kind == "multi_categorical":
            found.append(np.stack([rng.integers(0, n, steps) for n in form.sizes], axis=1))
        else:
            # Few events, too, so that notes are struck and ended again and again.
            few = rng.integers(0, form.sizes[0], 12)
            found += [rng.integers(0, form.sizes[0], steps), few[rng.integers(0, 12, steps)]]
    return found


def expected(converter, events) -> list[tuple]:
    fields = ("start_time", "pitch", "end_time", *FIELDS[3:])
    notes = converter.decode(events, qpm=QPM).notes
    return sorted(tuple(getattr(note, name) for name in fields) for note in notes)


def served(reader, batch) -> list[list[tuple]]:
    qpm = tf.fill([len(batch)], QPM) if reader.steps_per_quarter else None
    notes = tf.function(reader.notes, autograph=False)(tf.constant(batch), qpm)
    notes = {name: value.numpy() for name, value in notes.items()}
    counts = notes.pop("num_notes")
    assert notes["pitch"].shape == (len(batch), counts.max())
    for i, count in enumerate(counts):
        assert not any(values[i, count:].any() for values in notes.values())
    return [
        list(zip(*(notes[name][i, :count].tolist() for name in FIELDS), strict=True))
        for i, count in enumerate(counts)
    ]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_notes_are_those_of_the_converter(config):
    converter = CONVERTERS[config.kind](config)
    reader, form = note_reader(converter), converter.event_format
    examples = rows(converter)
    assert any(expected(converter, events) for events in examples)
    padding = -1 if "categorical" in form.kind else 0
    dtype = np.float32 if form.kind == "groove" else np.int32
    shape = len(examples), max(map(len, examples)), *form.event_shape
    batch = np.full(shape, padding, dtype)
    for row, events in zip(batch, examples, strict=True):
        row[: len(events)] = events
    for events, notes in zip(examples, served(reader, batch), strict=True):
        wanted = expected(converter, events)
        assert len(notes) == len(wanted)
        np.testing.assert_allclose(sorted(notes), wanted, rtol=1e-5, atol=1e-5)


def test_notes_have_the_programs_that_are_given():
    converter = build_converter(get_config("cat-mel_2bar").converter)
    notes = note_reader(converter, (73,)).notes(tf.constant([[40, 1, 42]]), tf.constant([QPM]))
    np.testing.assert_array_equal(notes["program"], [[73, 73]])
    with pytest.raises(UserError, match=r"programs \[1, 2\] must be 1, one for each melodic part"):
        note_reader(converter, (1, 2))


def test_every_converter_of_notes_has_a_reader():
    assert {config.kind for config in CONFIGS} == set(CONVERTERS)
