"""What the networks read at every step: against the converters, and the recorded conversions."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from groove_reference import hit_controls, network_input

from magenta_lite.config import config_names, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import CHORD_CLASSES, EventFormat
from magenta_lite.families.building import build_model
from magenta_lite.families.music_vae import inputs
from magenta_lite.families.music_vae.heads import make_head
from magenta_lite.testing.events import made_up_chords, made_up_events

GOLDEN = Path(__file__).parents[1] / "golden" / "converters"
GROOVAES = [
    name for name in config_names() if name.startswith("groovae") and not name.endswith("_tiny")
]
DROPOUT = "groovae_2bar_tap_fixed_velocity_note_dropout"
RECORDED_GROOVES = {
    "groove_4bar": "groovae_4bar",
    "groove_2bar_humanize": "groovae_2bar_humanize",
    "groove_2bar_tap_fixed_velocity": "groovae_2bar_tap_fixed_velocity",
    "groove_2bar_add_closed_hh": "groovae_2bar_add_closed_hh",
    "groove_2bar_hits_control": "groovae_2bar_hits_control",
}
RECORDED_OTHERS = {
    "drums_2bar": EventFormat("categorical", (512,), input_bits=9),
    "drums_2bar_roll_out": EventFormat("roll", (9,)),
    "drums_2bar_full_kit": EventFormat("roll", (61,)),
    "mel_2bar": EventFormat("categorical", (90,)),
    "trio_4bar": EventFormat("multi_categorical", (90, 90, 512)),
}


def format_of(name):
    config = get_config(name)
    return config.model.input_format(build_converter(config.converter).event_format)


def read(form, events, hidden_notes=None):
    """Returns what the encoder network reads of events (B, T, ...): float32 (B, T, I)."""
    head = make_head(form, nade_units=4)
    by_step = tf.constant(np.moveaxis(events, 0, 1), head.event_dtype)
    seen = inputs.network_input(form, by_step, head, tf.float32, hidden_notes)
    assert seen.shape[-1] == inputs.input_size(form)
    return np.moveaxis(seen.numpy(), 1, 0)


def recorded(name):
    """Yields the recorded arrays of each piece that gave windows."""
    arrays = np.load(GOLDEN / f"{name}.npz")
    for key in arrays:
        piece, kind = key.rsplit("/", 1)
        if kind == "outputs" and len(arrays[key]):
            kinds = ("inputs", "outputs", "controls")
            yield {k: arrays[f"{piece}/{k}"] for k in kinds if f"{piece}/{k}" in arrays}


@pytest.mark.parametrize("name", GROOVAES)
def test_a_groove_is_seen_as_the_converter_says(name):
    form = format_of(name)
    events = made_up_events(form, 20, 32, seed=3)
    np.testing.assert_array_equal(read(form, events), network_input(events, form))
    told = inputs.control_vectors(form, events[..., :9], tf.float32)
    if form.control:
        np.testing.assert_array_equal(told, hit_controls(events, form))


def test_these_are_all_grooves():
    changes = {name: format_of(name).input_changes for name in GROOVAES}
    assert len(changes) >= 6
    assert len(set(changes.values())) == 3


@pytest.mark.parametrize("name", RECORDED_GROOVES)
def test_a_groove_is_seen_as_the_original_saw_it(name):
    form = format_of(RECORDED_GROOVES[name])
    for arrays in recorded(name):
        np.testing.assert_array_equal(read(form, arrays["outputs"]), arrays["inputs"])
        if form.control:
            told = inputs.control_vectors(form, arrays["outputs"][..., :9], tf.float32)
            np.testing.assert_array_equal(told, arrays["controls"])


@pytest.mark.parametrize("name", RECORDED_OTHERS)
def test_ids_and_sets_are_seen_as_the_original_saw_them(name):
    form = RECORDED_OTHERS[name]
    windows = 0
    for arrays in recorded(name):
        events = arrays["outputs"]
        if form.kind != "roll":
            parts = np.split(events, np.cumsum(form.sizes)[:-1], axis=-1)
            ids = np.stack([part.argmax(-1) for part in parts], axis=-1)
            events = ids.reshape(*ids.shape[:2], *form.event_shape)
        expected = arrays.get("inputs", arrays["outputs"])
        np.testing.assert_array_equal(read(form, events), expected)
        windows += len(events)
    assert windows > 20


def test_chords_are_told_as_the_original_told_them():
    form = format_of("cat-mel_2bar_med_chords")
    seen = set()
    for arrays in recorded("mel_2bar_chords"):
        classes = arrays["controls"].argmax(-1)
        told = inputs.control_vectors(form, classes, tf.float32)
        np.testing.assert_array_equal(told, arrays["controls"])
        seen.update(classes.ravel().tolist())
    assert len(seen) > 10
    assert inputs.control_size(form) == CHORD_CLASSES


@pytest.mark.parametrize("name", ["cat-mel_2bar_med_chords", "groovae_2bar_hits_control"])
def test_the_model_is_told_chords_of_the_batch_and_hits_of_the_events(name):
    config = get_config(f"{name}_tiny")
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    form = model.events_format
    batch = {"events": made_up_events(form, 3, model.length)}
    if form.control == "chords":
        batch["controls"] = made_up_chords(3, model.length)
        expected = np.eye(CHORD_CLASSES)[batch["controls"]]
    else:
        expected = batch["events"][..., :9]
    told = model.conditioning({name: tf.constant(array) for name, array in batch.items()})
    np.testing.assert_array_equal(np.moveaxis(told.numpy(), 1, 0), expected)


# Hiding notes in training --------------------------------------------------------------------


def uniforms(form, count, steps, seed=1, first=None):
    """Returns the `inputs.random_inputs` of `count` examples; `first` decides on the share."""
    (draw,) = inputs.random_inputs(form, steps).values()
    assert draw.kind == "uniform"
    values = np.random.default_rng(seed).random((count, *draw.shape)).astype(np.float32)
    if first is not None:
        values[:, 0] = first
    return values


def struck_everywhere(count, steps):
    """Returns grooves (B, T, 27) where all is hit, class d with velocity (d + 1) / 9."""
    events = np.ones((count, steps, 3, 9), np.float32)
    events[:, :, 1] = np.arange(1, 10, dtype=np.float32) / 9
    events[:, :, 2] = 0.5
    return events.reshape(count, steps, 27)


PLAIN = EventFormat("groove", (9,), max_note_dropout=0.8)
SOFTNESS = np.maximum(0.2, 1 - np.arange(1, 10) / 9)


@pytest.mark.parametrize("first", [0.0, 0.25, 0.999])
def test_an_examples_own_draw_decides_how_many_notes_are_hidden_the_softer_the_more(first):
    events = struck_everywhere(64, 32)
    seen = read(PLAIN, events, uniforms(PLAIN, 64, 32, first=first))
    hidden = 1 - seen.reshape(-1, 3, 9)[:, 0]
    expected = 0.8 * first * SOFTNESS
    error = np.sqrt(expected * (1 - expected) / len(hidden))
    np.testing.assert_array_less(np.abs(hidden.mean(0) - expected), 4 * error + 1e-9)
    # A hidden note is hidden whole; what is seen is as it was.
    kept = np.repeat(hidden[:, None] == 0, 3, axis=1).reshape(seen.shape)
    np.testing.assert_array_equal(seen, np.where(kept, events, 0))


def test_over_all_examples_shares_are_uniform_up_to_the_setting():
    count = 2000
    seen = read(PLAIN, struck_everywhere(count, 32), uniforms(PLAIN, count, 32))
    hidden = 1 - seen.reshape(count, 32, 3, 9)[:, :, 0].mean(axis=1)  # share of each class
    np.testing.assert_allclose(hidden.mean(0), 0.4 * SOFTNESS, rtol=0.06)
    # Shares of examples differ: p is drawn for each, from 0 to 0.8.
    softest = hidden[:, 0] / SOFTNESS[0]
    quantiles = np.quantile(softest, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, [0.08, 0.4, 0.72], atol=0.04)


def test_notes_are_hidden_before_they_become_taps():
    form = format_of(DROPOUT)
    plain = EventFormat("groove", (9,), max_note_dropout=form.max_note_dropout)
    events = made_up_events(form, 50, 32, seed=7)
    draws = uniforms(form, 50, 32, first=0.999)
    survivors = read(plain, events, draws)
    assert 0.3 < survivors[..., :9].sum() / events[..., :9].sum() < 0.8
    expected = network_input(survivors, form)
    np.testing.assert_array_equal(read(form, events, draws), expected)


def test_the_model_hides_notes_in_training_only_and_from_the_converter_only():
    keras.utils.set_random_seed(4)
    config = get_config(f"{DROPOUT}_tiny", ["model.dropout=0"])
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    form = model.events_format
    assert "hidden_notes" in model.random_inputs()
    assert "hidden_notes" not in model.random_inputs(training=False)
    events = made_up_events(form, 4, model.length)
    batch = {
        "events": events,
        "length": np.full(4, model.length, np.int32),
        "noise": np.zeros((4, config.model.latent_size), np.float32),
        "uniforms": np.zeros((4, *model.random_inputs()["uniforms"].shape), np.float32),
    }
    few, many = (
        batch | {"hidden_notes": uniforms(form, 4, model.length, first=first)}
        for first in (0.0, 0.999)
    )
    np.testing.assert_array_equal(model(few)["mu"], model(many)["mu"])
    outputs = [model(b, training=True) for b in (few, many)]
    np.testing.assert_allclose(outputs[0]["mu"], model(few)["mu"], atol=1e-6)
    assert np.abs(outputs[0]["mu"] - outputs[1]["mu"]).max() > 1e-6
    # What is to be given back stays whole.
    (targets, _), (others, _) = model.targets(few), model.targets(many)
    np.testing.assert_array_equal(np.moveaxis(targets.numpy(), 1, 0), events)
    np.testing.assert_array_equal(targets, others)


def test_without_the_setting_nothing_is_drawn():
    for name in GROOVAES:
        form = format_of(name)
        assert (
            bool(inputs.random_inputs(form, 32)) == bool(form.max_note_dropout) == (name == DROPOUT)
        )
