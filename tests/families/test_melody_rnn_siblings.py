"""The siblings of MelodyRNN: drums, melodies over chords, performances; the same network."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from event_reference import encode_events
from test_melody_rnn_generation import generate, request

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.event_sequences.chord_ids import KINDS
from magenta_lite.data.collections import Examples
from magenta_lite.families.building import build_model
from magenta_lite.families.melody_rnn import features
from magenta_lite.families.melody_rnn.evaluation import MEANINGS
from magenta_lite.modeling.sampling import output_seeds
from magenta_lite.testing.events import made_up_events
from magenta_lite.training.run import load_run
from magenta_lite.training.trainer import train

# One of each: drums, both readings of chords, with and without attention, performances.
NAMES = ("drum_kit_rnn", "attention_improv", "chord_pitches_improv", "performance_with_dynamics")
each = pytest.mark.parametrize("name", NAMES)


def small(name, *overrides):
    config = get_config(name)
    longest = "max_events" if name.startswith("performance") else "max_steps"
    changes = ["model.units=[10]", f"converter.{longest}=40"]
    if config.model.attention_length:
        changes.append("model.attention_length=6")
    return get_config(name, [*changes, *overrides])


@functools.cache
def made(name):
    """Returns converter and model, small, with weights that make it choosy."""
    keras.utils.set_random_seed(1)
    config = small(name)
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    for weight in model.trainable_variables:
        weight.assign(tf.random.normal(weight.shape) * 0.3)
    return converter, model


def chords_for(converter, rows, steps):
    """Returns random chord ids, of every bass where basses count; None without chords."""
    reading, rng = converter.encoding.chords, np.random.default_rng(2)
    if not reading:
        return None
    classes = 49 if reading == "triads" else 1 + 12 * len(KINDS)
    ids = rng.integers(0, classes, (rows, steps))
    return (ids + (256 * rng.integers(0, 12, ids.shape) if reading == "pitches" else 0)).astype(
        np.int32
    )


def batch_of(converter, rows=4, steps=40):
    events = made_up_events(converter.event_format, rows, steps).astype(np.int32)
    chords = chords_for(converter, rows, steps)
    return {"events": events} | ({} if chords is None else {"controls": chords})


def by_row(batch):
    chords = batch.get("controls", [None] * len(batch["events"]))
    return zip(batch["events"], chords, strict=True)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("drum_kit_rnn", 2_705_706),
        ("performance_with_dynamics", 6_242_692),
        # 5.6 MB, as the released one.
        ("chord_pitches_improv", 1_400_358),
    ],
)
def test_configurations_have_the_size_of_the_original(name, count):
    config = get_config(name)
    assert build_model(config, build_converter(config.converter)).count_params() == count


@each
def test_features_in_the_graph_equal_the_converter(name):
    converter, model = made(name)
    batch = batch_of(converter, rows=20)
    ids, chords = batch["events"].T, batch.get("controls")
    following = None if chords is None else tf.constant(chords.T[1:])
    inputs, _ = features.read_events(model.encoding, tf.constant(ids[:-1]), following)
    for row, (events, its_chords) in enumerate(by_row(batch)):
        expected, _ = encode_events(model.encoding, events, its_chords)
        np.testing.assert_array_equal(inputs[:, row], expected)


@each
def test_generated_events_are_drawn_from_the_logits_of_teacher_forcing(name):
    converter, model = made(name)
    functions, arguments = model.signatures(), model.signature_arguments(5, 0.0, 3)
    length = len(arguments["primer"]) + int(arguments["num_steps"])
    chords = chords_for(converter, 1, length)
    if chords is not None:
        arguments["chords"] = tf.constant(chords[0])
    events = functions["generate"](**arguments)["events"].numpy()
    assert (events == events[0]).all()
    events = events[:, events[0] >= 0]
    batch = {"events": events[:1]} | ({} if chords is None else {"controls": chords})
    assert model.encoding.shift_ids or events.shape[1] == length
    logits = model(batch)
    guessed = features.most_probable_events(
        model.encoding, tf.constant(events[:1].T), tf.transpose(logits, [1, 0, 2])
    )
    np.testing.assert_array_equal(guessed[:, 0], events[0, 1:])
    drawn = arguments | {"temperature": tf.constant(1.0)}
    assert len({row.tobytes() for row in functions["generate"](**drawn)["events"].numpy()}) > 1


@pytest.mark.parametrize("name", ["attention_improv", "chord_pitches_improv"])
def test_a_chord_matters_from_the_event_that_it_stands_under(name):
    converter, model = made(name)
    batch = batch_of(converter)
    changed = batch["controls"].copy()
    changed[:, 20] = 1 + changed[:, 20] % 12
    before, after = (model(batch | {"controls": chords}) for chords in (batch["controls"], changed))
    np.testing.assert_array_equal(after[:, :19], before[:, :19])  # of the events 1 to 19
    assert (np.abs(after - before)[:, 19].max(axis=1) > 1e-3).all()


def test_performances_end_with_the_step_asked_for():
    converter, model = made("performance_with_dynamics")
    seeds = output_seeds(3, 6)
    events, _ = model.continue_primer(tf.constant([355]), 300, seeds)
    assert events.shape == (6, 301)
    lengths = set()
    for row in events.numpy():
        ids = row[row >= 0]
        assert (row[len(ids) :] == -1).all()
        # As many events as it takes and no more: the last one passes the end, if it was reached.
        assert converter.steps(ids[1:-1]) < 300
        assert converter.steps(ids[1:]) >= 300 or len(ids) == 301
        lengths.add(len(ids))
    assert len(lengths) > 1
    more, _ = model.continue_primer(tf.constant([355]), 300, seeds[:2])
    np.testing.assert_array_equal(more, events[:2])


def test_filters_let_sounding_notes_end():
    converter, model = made("performance_with_dynamics")
    on, off = converter.codec.note_on[0], converter.codec.note_off[0]
    primer = on + np.arange(30, 90, dtype=np.int32)
    events, _ = model.continue_primer(primer, 20, output_seeds(3, 64), top_k=2)
    p = tf.nn.softmax(model({"events": np.maximum(events, 0)})).numpy()
    ended, expected = 0, 0.0
    for row, of_row in zip(events.numpy(), p, strict=True):
        held = set(primer - on)
        for id, now in zip(row[60:], of_row[59:], strict=True):
            if id < 0:
                break
            ends, top = {off + pitch for pitch in held}, set(np.argsort(now)[-2:])
            assert id in ends | top
            expected += float(now[list(ends)].sum() / now[list(ends | top)].sum())
            ended += id in ends
            held = held | {id - on} if id < off else held - {id - off}
    assert expected > 50 and ended == pytest.approx(expected, abs=4 * expected**0.5)


def test_signatures_with_chords_work_from_disk(tmp_path):
    converter, model = made("chord_pitches_improv")
    functions, module = model.signatures(), tf.Module()
    module.model_weights = [weight.value for weight in model.weights]
    tf.saved_model.save(module, str(tmp_path), signatures=functions)
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    arguments = model.signature_arguments(3, 1.0, 4)
    expected = functions["generate"](**arguments)["events"]
    np.testing.assert_array_equal(loaded["sample"](**arguments)["events"], expected)
    batch = batch_of(converter, rows=3)
    scored = {
        "events": tf.constant(batch["events"]),
        "length": tf.fill([3], 30),
        "chords": tf.constant(batch["controls"]),
    }
    for name, value in functions["log_likelihood"](**scored).items():
        np.testing.assert_allclose(loaded["log_likelihood"](**scored)[name], value, rtol=1e-5)


# From training to music ---------------------------------------------------------------------


class MadeUpCollection:
    """Random events of a converter in place of a built data set."""

    name = "made up"
    sizes = {"train": 8, "validation": 0, "test": 0}  # noqa: RUF012

    def __init__(self, converter):
        self._converter = converter

    def split(self, name):
        batch, size = batch_of(self._converter, self.sizes[name]), self.sizes[name]
        chords = batch.get("controls")
        return Examples(
            batch["events"].astype(self._converter.event_format.event_dtype),
            np.full(size, 40, np.int32),
            None,
            None if chords is None else (chords % 256).astype(np.uint8),
        )


@each
def test_small_twins_train_and_generate(name, tmp_path):
    # Training with attention is no other than that of attention_rnn, and slow to compile.
    settings = ("train.batch_size=4", "train.steps=2", "model.attention_length=0")
    config = small(f"{name}_tiny", *settings)
    model = train(config, tmp_path / "run", MadeUpCollection(build_converter(config.converter)))
    run = load_run(tmp_path / "run")
    for ours, loaded in zip(model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, ours)
    sequences = generate(run.model, run.converter, request(num_steps=None, new_steps=12))
    assert [type(sequence).__name__ for sequence in sequences] == ["NoteSequence"] * 2


@each
def test_evaluation_adds_up_what_the_model_says_of_each_example(name):
    converter, model = made(name)
    examples = MadeUpCollection(converter).split("train")
    numbers = model.measure(examples)
    assert set(numbers) <= set(MEANINGS)
    chords = None if examples.controls is None else tf.constant(examples.controls, tf.int32)
    events = tf.constant(examples.events, tf.int32)
    labels, _ = model.log_likelihood(events, tf.constant(examples.lengths), chords)
    np.testing.assert_allclose(numbers["nll_per_step"], -np.sum(labels) / (8 * 39), rtol=1e-5)
    usual = (examples.events[:, 1:] == model.encoding.usual_id).mean()
    np.testing.assert_allclose(numbers["no_event_share"], usual)
