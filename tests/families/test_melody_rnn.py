"""Behaviour of the MelodyRNN beyond the recorded numbers."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from event_reference import History, encode_events

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.families.building import build_model
from magenta_lite.families.melody_rnn import decoding, features
from magenta_lite.families.melody_rnn.attention import AttentionLSTM, attention_scan, attention_step
from magenta_lite.families.melody_rnn.evaluation import MEANINGS
from magenta_lite.modeling.sampling import Sampler, output_seeds
from magenta_lite.training.trainer import compile_model

NAMES = ("basic_rnn", "lookback_rnn", "attention_rnn", "mono_rnn")
SMALL = ("model.units=[10,12]", "converter.max_steps=40")
each = pytest.mark.parametrize("name", NAMES)


def make(name, *overrides):
    """Returns converter and model, small, with weights that make it choosy."""
    keras.utils.set_random_seed(1)
    attention = ("model.attention_length=6",) if name == "attention_rnn" else ()
    config = get_config(name, (*SMALL, *attention, *overrides))
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    for weight in model.trainable_variables:
        weight.assign(tf.random.normal(weight.shape) * 0.5)
    compile_model(model, config.train)
    return converter, model


# What is not trained is made once, and what it writes with is compiled once.
made = functools.cache(make)


def random_ids(converter, rows, steps, seed=0):
    """Returns ids that often repeat what came a bar or two before."""
    rng = np.random.default_rng(seed)
    ids = rng.choice([0, 0, 0, 1, *rng.integers(2, converter.depth, 8)], (rows, steps))
    for t, back in itertools.product(range(steps), (16, 32)):
        if t >= back:
            again = rng.random(rows) < 0.3
            ids[:, t] = np.where(again, ids[:, t - back], ids[:, t])
    return ids.astype(np.int32)


def batch_of(converter, model, rows=6, steps=40, seed=0):
    rng = np.random.default_rng(seed)
    batch = {
        "events": tf.constant(random_ids(converter, rows, steps, seed)),
        "length": tf.constant(rng.integers(2, steps + 1, rows), tf.int32),
    }
    for name, draw in model.random_inputs().items():
        batch[name] = tf.constant(rng.integers(0, 2**31, (rows, *draw.shape)), tf.int32)
    return batch


# Features in the graph ----------------------------------------------------------------------


@each
def test_features_in_the_graph_equal_the_converter_on_200_melodies(name):
    converter, model = made(name)
    encoding, ids = model.encoding, random_ids(converter, 200, 70)
    inputs, state = features.read_events(encoding, tf.constant(ids.T))
    labels = features.labels(encoding, tf.constant(ids.T)).numpy()
    for row, melody in enumerate(ids):
        expected, classes = encode_events(encoding, melody)
        np.testing.assert_array_equal(inputs[:-1, row], expected)
        np.testing.assert_array_equal(labels[:, row], classes)
    history = History(encoding, rows=200)
    for column in ids.T:
        history.add(column)
    for chosen in range(encoding.num_classes):
        classes = np.full(200, chosen)
        ours = features.event_of(encoding, state, tf.constant(classes, tf.int32))
        np.testing.assert_array_equal(ours, history.ids(classes))


def test_probabilities_of_classes_that_mean_the_same_are_added_up():
    converter, model = made("lookback_rnn")
    ids = random_ids(converter, 5, 36)
    _, state = features.read_events(model.encoding, tf.constant(ids.T))
    p = tf.nn.softmax(tf.random.normal([5, model.encoding.num_classes]))
    merged = features.event_probabilities(model.encoding, state, p).numpy()
    expected = np.zeros_like(merged)
    for row, chosen in itertools.product(range(5), range(model.encoding.num_classes)):
        (id,) = features.event_of(
            model.encoding, decoding.take_rows(state, [row]), tf.constant([chosen])
        )
        expected[row, id] += p[row, chosen]
    np.testing.assert_allclose(merged, expected, atol=1e-6)


# The network --------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [(6,), (6, 5)], ids=["first layer", "all layers"])
@pytest.mark.parametrize(("length", "steps"), [(4, 9), (12, 7)])
@pytest.mark.parametrize("dropout", [False, True])
def test_gradient_of_attention_is_that_of_its_steps(units, length, steps, dropout):
    keras.utils.set_random_seed(2)
    layer = AttentionLSTM(units, 5, length, size=7, score_size=8)
    for weight in layer.weights:
        weight.assign(tf.random.normal(weight.shape) * 0.5)
    x, wanted = tf.random.normal([steps, 3, 5]), tf.random.normal([steps, 3, 7])
    keep = tuple(tf.round(tf.random.uniform([steps, 3, n])) * 2 for n in units) if dropout else ()

    def step_by_step(weights, x, state, keep):
        outputs = []
        for t in range(steps):
            kept = tuple(mask[t] for mask in keep)
            output, state, _ = attention_step(weights, x[t], state, t % length, kept)
            outputs.append(output)
        return tf.stack(outputs), state

    results = []
    for run in (step_by_step, attention_scan):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, state = run(layer.prepared(), x, layer.zero_state(3), keep)
            loss = tf.reduce_sum(outputs * wanted)
        gradients = tape.gradient(loss, [x, *(w.value for w in layer.trainable_weights)])
        results.append(tf.nest.flatten((outputs, state, gradients)))
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("name", [*NAMES, "old attention_rnn"])
def test_steps_give_the_logits_of_whole_sequences(name):
    old = ("model.attention_layout=all_layers",) if name.startswith("old") else ()
    converter, model = made(name.split()[-1], *old)
    ids = random_ids(converter, 4, 40)
    expected = model({"events": tf.constant(ids)})
    history, states = features.empty_history(model.encoding, 4), model.zero_states(4)
    weights = model.layer_weights()
    for t in range(39):
        x, history = features.add_event(model.encoding, history, tf.constant(ids[:, t]), t)
        logits, states = model.step(weights, x, states, t)
        np.testing.assert_allclose(logits, expected[:, t], rtol=1e-4, atol=1e-3)


def test_old_attention_has_the_size_of_the_released_drum_kit():
    layer = AttentionLSTM((256, 256, 256), 518, 32)
    assert layer.query_kernel.shape == (6 * 256, 256)
    head = 256 * 512 + 512
    assert sum(np.prod(w.shape) for w in layer.weights) + head == 2_967_850


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("basic_rnn", 221_990),
        ("mono_rnn", 280_962),
        ("lookback_rnn", 264_744),
        ("attention_rnn", 338_006),
    ],
)
def test_configurations_have_the_size_of_the_original(name, count):
    config = get_config(name, original=True)
    assert build_model(config, build_converter(config.converter)).count_params() == count


def test_what_follows_the_end_of_a_melody_changes_nothing():
    converter, model = made("attention_rnn")
    batch = batch_of(converter, model)
    past = tf.range(40) >= batch["length"][:, None]
    other = batch | {"events": tf.where(past, 5, batch["events"])}
    losses = [model.compute_loss(x=b, y_pred=model(b, training=True)) for b in (batch, other)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("name", ["attention_rnn", "drum_kit_rnn"])
def test_dropout_is_a_function_of_the_example_in_training_only(name):
    converter, model = made(name)
    batch = batch_of(converter, model)
    plain = model(batch, training=False)
    np.testing.assert_array_equal(plain, model({"events": batch["events"]}))
    trained = model(batch, training=True)
    assert not np.allclose(trained, plain, atol=1e-3)
    part = model({key: x[2:] for key, x in batch.items()}, training=True)
    np.testing.assert_allclose(trained[2:], part, atol=1e-5)
    other = model(batch | {"dropout": batch["dropout"] + 1}, training=True)
    assert not np.allclose(trained, other, atol=1e-3)


def test_a_step_in_parts_moves_the_weights_as_a_whole_one():
    moved = []
    for parts in (1, 3):
        converter, model = make("lookback_rnn")
        model.micro_batches = parts
        model.fit(tf.data.Dataset.from_tensors(batch_of(converter, model)), verbose=0)
        moved.append([w.numpy() for w in model.trainable_variables])
    for whole, in_parts in zip(*moved, strict=True):
        np.testing.assert_allclose(in_parts, whole, atol=1e-6)


def test_a_batch_is_learnt_and_the_loss_of_events_too():
    for target in ("label", "event"):
        changes = ("model.dropout=0", "train.learning_rate=0.02", f"objective.target={target}")
        converter, model = make("attention_rnn", *changes)
        batches = tf.data.Dataset.from_tensors(batch_of(converter, model)).repeat()
        history = model.fit(batches, steps_per_epoch=30, epochs=8, verbose=0).history
        assert history["loss"][-1] < 0.5 * history["loss"][0]
        assert history["melody_nll_per_step"][-1] <= np.log(history["perplexity"][-1]) + 1e-6


def test_saved_and_loaded_models_are_equal(tmp_path):
    converter, model = made("attention_rnn")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    batch = batch_of(converter, model)
    np.testing.assert_array_equal(again(batch), model(batch))
    assert again.optimizer.clip_per_variable


# Generation ---------------------------------------------------------------------------------

PRIMER = tf.constant([14, 0, 0, 0, 16, 0, 1, 0])


@each
def test_many_at_once_are_what_each_is_alone(name):
    _, model = made(name)
    together, _ = model.continue_primer(PRIMER, 40, output_seeds(5, 6))
    for number, expected in enumerate(together.numpy()):
        alone, _ = model.continue_primer(PRIMER, 40, tf.constant([[5, number]]))
        np.testing.assert_array_equal(alone[0], expected)
    assert len({row.tobytes() for row in together.numpy()}) == 6


def test_lengths_of_primers_and_continuations_share_compiled_shapes(monkeypatch):
    converter, model = make("attention_improv")
    compiled, shapes = decoding._compiled_sample, set()

    def recorded(model, weights, *arguments):
        tensors = tf.nest.flatten(arguments)
        shapes.add(tuple(tuple(tf.shape(x).numpy()) for x in tensors if x is not None))
        return compiled(model, weights, *arguments)

    monkeypatch.setattr(decoding, "_compiled_sample", recorded)
    ids, chords = random_ids(converter, 1, 60)[0], np.arange(64) % 20
    seeds = output_seeds(3, 2)
    for primer, steps in ((1, 30), (7, 1), (20, 20)):
        given, following = ids[:primer], chords[: primer + steps]
        events, _ = decoding.sample(model, given, steps, seeds, Sampler(), following)
        both = [tf.repeat(x[None], 2, axis=0) for x in (given, following)]
        counts = [tf.fill([2], n) for n in (primer, steps, primer + steps)]
        of_rows = (both[1], counts[2])
        alone = decoding.sample_rows(model, both[0], *counts[:2], seeds, Sampler(), of_rows)
        np.testing.assert_array_equal(events, alone)
    assert len(shapes) == 1


@each
def test_generated_events_are_drawn_from_the_logits_of_teacher_forcing(name):
    _, model = made(name)
    events, scores = model.continue_primer(PRIMER, 40, output_seeds(0, 6), temperature=1.0)
    np.testing.assert_array_equal(events[:, :8], np.tile(PRIMER, (6, 1)))
    _, whole = model.log_likelihood(events, tf.fill([6], 48))
    _, first = model.log_likelihood(events, tf.fill([6], 8))
    np.testing.assert_allclose(scores, whole - first, atol=1e-3)
    greedy, _ = model.continue_primer(PRIMER, 40, output_seeds(0, 6), temperature=0.0)
    np.testing.assert_array_equal(greedy[0], greedy[1])
    for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        drawn, _ = model.continue_primer(PRIMER, 40, output_seeds(0, 6), **settings)
        np.testing.assert_array_equal(drawn, greedy)


@pytest.mark.parametrize(
    ("top_k", "top_p", "left"),
    [(0, 1.0, 4), (2, 1.0, 2), (0, 0.6, 2), (0, 0.5, 1), (3, 0.99, 3), (0, 0.0, 1)],
)
def test_filters_leave_the_most_probable(top_k, top_p, left):
    p = tf.constant([[0.1, 0.5, 0.05, 0.35], [0.35, 0.05, 0.5, 0.1]])
    logits = Sampler(1.0, top_k, top_p).filtered(tf.math.log(p))
    kept = tf.nn.softmax(logits).numpy() > 0
    assert (kept.sum(axis=1) == left).all()
    assert (p.numpy()[kept].reshape(2, -1).min(axis=1) > p.numpy().max() * 0).all()
    assert kept[0, 1] and kept[1, 2]


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({}, 0.7),
        ({"temperature": 0.5}, 0.49 / 0.58),
        ({"temperature": 2.0, "min_p": 0.2}, 0.7**0.5 / (0.7**0.5 + 0.3**0.5)),
        ({"top_k": 2}, 0.7),
        ({"top_p": 0.65}, 1.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["lookback_rnn", "attention_rnn"])
def test_settings_act_on_events_whatever_classes_mean_them(name, settings, share):
    """Of four classes with the probabilities 0.3, 0.25, 0.25, 0.2 the last three are one event."""
    _, model = made(name, "model.lookback_distances=[16,32]")
    encoding, rows = model.encoding, 4000
    other, event = 9, 14
    _, state = features.read_events(encoding, tf.fill([40, rows], event))
    p = np.full(encoding.num_classes, 1e-9, np.float32)
    p[encoding.own_class(other)] = 0.3
    p[[encoding.own_class(event), -2, -1]] = 0.25, 0.25, 0.2
    logits = tf.repeat(tf.math.log(p)[None], rows, axis=0)
    uniforms = (np.arange(rows, dtype=np.float32) + 0.5) / rows
    sampler = Sampler(**settings).tensors()
    ids, log_p = decoding.draw_events(model, state, logits, uniforms, sampler)
    ids = ids.numpy()
    assert set(ids) <= {event, other}
    assert np.mean(ids == event) == pytest.approx(share, abs=1e-3)
    np.testing.assert_allclose(np.exp(log_p[ids == event]), share, atol=1e-4)
    if not settings:  # what a seed gives
        classes, _ = sampler.draw(logits, uniforms)
        np.testing.assert_array_equal(ids, features.event_of(encoding, state, classes))


def test_the_most_probable_event_may_be_that_of_no_most_probable_class():
    _, model = made("lookback_rnn")
    encoding = model.encoding
    _, state = features.read_events(encoding, tf.fill([40, 1], 14))
    p = np.full([1, encoding.num_classes], 1e-9, np.float32)
    p[0, [9, 14, -2, -1]] = 0.4, 0.2, 0.2, 0.2
    greedy = Sampler(temperature=0.0).tensors()
    drawn, _ = decoding.draw_events(model, state, tf.math.log(p), tf.zeros([1]), greedy)
    assert drawn.numpy() == [14]
    of_classes = make("lookback_rnn", "generate.by_event=false")[1]
    drawn, _ = decoding.draw_events(of_classes, state, tf.math.log(p), tf.zeros([1]), greedy)
    assert drawn.numpy() == [9]


def test_beam_search_of_one_sample_is_sampling():
    _, model = made("attention_rnn")
    seeds = output_seeds(3, 6)
    expected, expected_scores = model.continue_primer(PRIMER, 40, seeds)
    events, scores = decoding.stochastic_beam(
        model, PRIMER, 40, seeds, Sampler(), beams=1, branches=1, stride=1
    )
    np.testing.assert_array_equal(events, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-3)


def test_more_beams_find_likelier_samples():
    _, model = made("attention_rnn")
    seeds = output_seeds(3, 4)
    _, few = decoding.stochastic_beam(
        model, PRIMER, 31, seeds, Sampler(), beams=1, branches=1, stride=4
    )
    _, many = decoding.stochastic_beam(
        model, PRIMER, 31, seeds, Sampler(), beams=4, branches=4, stride=4
    )
    assert (many.numpy() > few.numpy()).all()


def test_best_beam_finds_the_most_probable_pair_of_events():
    converter, model = made("lookback_rnn")
    wide = converter.depth**2
    events, scores = decoding.beam_search(model, PRIMER, 2, wide)
    length = tf.fill([wide], 10)
    _, melody = model.log_likelihood(events, length)
    _, before = model.log_likelihood(events, length - 2)
    np.testing.assert_allclose(scores, melody - before, atol=1e-4)
    assert len({row.tobytes() for row in events.numpy()}) == wide
    narrow, _ = decoding.beam_search(model, PRIMER, 2, 8)
    np.testing.assert_array_equal(narrow[0], events[0])


# Signatures ---------------------------------------------------------------------------------


def test_signatures_give_what_the_model_gives_from_disk_too(tmp_path):
    converter, model = made("attention_rnn")
    functions, module = model.signatures(), tf.Module()
    module.model_weights = [weight.value for weight in model.weights]
    tf.saved_model.save(module, str(tmp_path), signatures=functions)
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    for outputs in (1, 3):
        arguments = model.signature_arguments(outputs, 1.0, 9)
        events = loaded["sample"](**arguments)["events"]
        assert events.shape == (outputs, 40)
        expected, _ = model.continue_primer(arguments["primer"], 39, output_seeds(9, outputs))
        np.testing.assert_array_equal(events, expected)
    scores = loaded["log_likelihood"](events=events, length=tf.fill([3], 40))
    assert (scores["melody_log_likelihood"].numpy() >= scores["log_likelihood"].numpy()).all()
    assert len(converter.decode(events[0].numpy()).notes)


# Evaluation ---------------------------------------------------------------------------------


@each
def test_evaluation_adds_up_what_the_model_says_of_each_melody(name):
    converter, model = made(name)
    lengths = np.array([40, 7, 2, 25, 40], np.int32)
    events = random_ids(converter, 5, 40)
    examples = Examples(events.astype(np.uint8), lengths, None)
    numbers = model.measure(examples)
    assert set(numbers) <= set(MEANINGS)
    labels, melody = model.log_likelihood(tf.constant(events), tf.constant(lengths))
    steps = (lengths - 1).sum()
    assert (numbers["examples"], numbers["steps"]) == (5, steps)
    np.testing.assert_allclose(numbers["nll_per_step"], -np.sum(labels) / steps, rtol=1e-5)
    np.testing.assert_allclose(numbers["melody_nll_per_step"], -np.sum(melody) / steps, rtol=1e-5)


def test_the_melody_counts_as_guessed_whatever_class_says_so():
    converter, model = made("lookback_rnn")
    encoding, ids = model.encoding, tf.constant(random_ids(converter, 7, 40).T)
    logits = tf.random.normal([39, 7, encoding.num_classes], seed=3) * 2
    guessed = features.most_probable_events(encoding, ids, logits)
    for t in (1, 15, 16, 31, 38):
        _, state = features.read_events(encoding, ids[: t + 1])
        p = features.event_probabilities(encoding, state, tf.nn.softmax(logits[t]))
        np.testing.assert_array_equal(guessed[t], tf.argmax(p, axis=1))
