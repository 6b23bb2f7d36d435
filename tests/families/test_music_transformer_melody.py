"""Music Transformer that accompanies melodies: training on pairs, state, serving."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.music_transformer import generation
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.modeling import decoding
from magenta_lite.modeling.chunked_decoding import generate_tokens
from magenta_lite.training.trainer import compile_model

CONFIG = get_config(
    "music_transformer_melody_tiny", ["converter.max_tokens=128", "train.warmup_steps=5"]
)
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def tune(seed, chords=True, seconds=20.0):
    """A random walk on a scale, with chords if wanted."""
    rng, piece = np.random.default_rng(seed), music_pb2.NoteSequence(total_time=seconds)
    place = 3
    for i in range(int(2 * seconds)):
        place = int(np.clip(place + rng.choice([-1, 1]), 0, 7))
        note = {"start_time": i / 2, "end_time": i / 2 + 0.4}
        piece.notes.add(pitch=SCALE[place] + 12, velocity=100, **note)
        if chords and i % 4 == 0:
            piece.notes.add(pitch=SCALE[place] - 12, velocity=60, **note)
    return piece


@pytest.fixture(scope="module")
def converter():
    return build_converter(CONFIG.converter)


@pytest.fixture(scope="module")
def examples(converter):
    rows = [row for seed in range(12) for row in converter.encode(tune(seed)).examples]
    events = np.zeros((len(rows), converter.window_steps), np.uint16)
    for row, ids in zip(events, rows, strict=True):
        row[: len(ids)] = ids
    lengths = np.array([len(row) for row in rows], np.int32)
    return Examples(events, lengths, ["a"] * len(rows))


@pytest.fixture(scope="module")
def model(converter):
    keras.utils.set_random_seed(0)
    return build_model(CONFIG, converter)


def request(**changes):
    values = {
        "mode": "accompany",
        "inputs": [("tune.mid", tune(99, chords=False, seconds=8.0))],
        "num_outputs": 2,
        "temperature": 1.0,
        "seed": 3,
        "qpm": 120.0,
        "num_tokens": 100,
    }
    return MusicTransformerOptions(**values | changes)


def test_the_shape_of_the_released_model():
    config = get_config("melody_conditioned_model_16")
    model = build_model(config, build_converter(config.converter))
    assert model.count_params() == 117_987_328


def test_it_learns_to_accompany_and_the_melody_matters(converter, examples):
    keras.utils.set_random_seed(0)
    model = build_model(CONFIG, converter)
    compile_model(model, CONFIG.train)
    batches = batches_for(
        converter,
        examples,
        batch_size=8,
        seed=0,
        random_inputs=model.random_inputs(),
        transpose=(-3, 3),
    )
    history = model.fit(batches.dataset(), steps_per_epoch=30, epochs=4, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    numbers = model.measure(examples, 0)
    steps = converter.rules.input_steps
    assert numbers["tokens"] == int(np.sum(examples.lengths - steps))
    # With another piece's melody the music is less likely.
    rows = tf.constant(examples.events, tf.int32)
    apart = model.separated({"events": rows})
    right = model.log_likelihood(apart["events"], apart["inputs"])
    wrong = model.log_likelihood(apart["events"], tf.roll(apart["inputs"], 3, axis=0))
    assert -float(tf.reduce_sum(right)) == pytest.approx(
        numbers["nll_per_token"] * numbers["tokens"], rel=1e-4
    )
    assert float(tf.reduce_mean(right - wrong)) > 1


def test_filling_behind_a_melody_changes_nothing(model, converter, examples):
    apart = model.separated({"events": tf.constant(examples.events[:2], tf.int32)})
    filled = tf.pad(apart["inputs"], [[0, 0], [0, 50]])
    both = [model({"events": apart["events"], "inputs": x}) for x in (apart["inputs"], filled)]
    np.testing.assert_allclose(*both, atol=1e-4)


def test_accompaniments_are_music_and_end(model, converter):
    pieces = model.generate(request(), converter)
    assert len(pieces) == 2
    ids = converter.melody_ids(request().inputs[0][1])
    assert len(ids) == 79
    rows = generate_tokens(model, [], request(), 100, np.array(ids, np.int32))
    assert not (rows >= converter.codec.size).any()
    for row in rows:
        length = np.count_nonzero(row)  # zeros after the end
        assert length == 100 or row[length - 1] == 1
        for t in range(length):
            assert converter.valid_next(row[:t])[row[t]]


def test_a_cached_step_gives_what_the_full_pass_gives(model, converter, examples):
    apart = model.separated({"events": tf.constant(examples.events[:1, :], tf.int32)})
    wanted = model(apart)
    primer = apart["events"][0, :60]
    state, memory = decoding.begin(model, primer, 1, 100, apart["inputs"][0], slots=128)
    last = apart["events"][:, 59]
    logits, _, _ = model.step(
        model.step_weights(), last, tf.constant(60), state.keys, state.values, memory
    )
    np.testing.assert_allclose(logits, wanted[:, 60], atol=1e-4)


def test_the_melody_can_be_left_out_and_written_down(model, converter, monkeypatch):
    melody = tune(99, chords=False, seconds=8.0)
    played = converter.performance.ids_of(tune(99, seconds=8.0))

    def holds_the_melody(model, primer, request, total, inputs):
        return np.array([[*played, 1]])

    monkeypatch.setattr(generation, "generate_tokens", holds_the_melody)
    (whole,) = model.generate(request(), converter)
    (rest,) = model.generate(request(drop_melody=True), converter)
    assert len(whole.notes) == len(rest.notes) + len(melody.notes)
    assert {note.pitch for note in rest.notes}.isdisjoint({note.pitch for note in melody.notes})

    heard = []
    monkeypatch.setattr(
        generation, "generate_tokens", lambda *args: heard.append(args[-1]) or np.array([[1]])
    )
    text = request(inputs=[], primer_melody="[60, -2, -2, -2, 67, -1]", qpm=75.0)
    model.generate(text, converter)
    notes = converter.melody.decode(np.trim_zeros(heard[0], "b")).notes
    assert [(n.pitch, round(n.start_time, 6)) for n in notes] == [(60, 0.0), (67, 0.8)]


def test_of_a_song_the_melody_is_accompanied(converter, capsys):
    melody = tune(99, chords=False, seconds=8.0)
    song = tune(99, chords=False, seconds=8.0)
    for note in melody.notes:
        note.instrument = 4
        for below in (24, 20):
            bass = song.notes.add()
            bass.CopyFrom(note)
            bass.pitch, bass.instrument, bass.program = note.pitch - below, 5, 33
    for note in list(song.notes)[: len(melody.notes)]:
        note.instrument = 4
    ids = generation._melody_ids(converter, "a.mid", song)
    assert ids == converter.melody_ids(melody)
    count = len(melody.notes)
    told = f"Melody: {count} of {count} notes of track 5 (Acoustic Grand Piano) of a.mid"
    assert told in capsys.readouterr().out


def test_what_cannot_be_done_is_said_in_a_line(model, converter, capsys):
    def refused(model=model, converter=converter, **changes):
        with pytest.raises(UserError) as error:
            model.generate(request(**changes), converter)
        return str(error.value)

    assert "music_transformer model, which has: accompany" in refused(mode="sample", inputs=[])
    assert "--input=FILE with a melody" in refused(inputs=[])
    assert "not both" in refused(primer_melody="60")
    assert "no melody to accompany" in refused(inputs=[("a", music_pb2.NoteSequence())])
    tiny = get_config("music_transformer_tiny")
    plain = build_converter(tiny.converter)
    other = {"model": build_model(tiny, plain), "converter": plain}
    refusal = refused(**other)
    assert "sample, continue, infill; models of --config=music_transformer_melody" in refusal
    for more in ({"drop_melody": True}, {"primer_melody": "60"}):
        assert "means nothing" in refused(**other, mode="sample", inputs=[], **more)
    long = [("a", tune(1, chords=False, seconds=15.0))]
    model.generate(request(inputs=long, num_tokens=3, num_outputs=1), converter)
    assert "lasts 15 s, and the model has learned from 10 s" in capsys.readouterr().err


def test_served_functions_give_what_generate_gives(model, converter, tmp_path):
    module = tf.Module()
    module.model_weights = [weight.value for weight in model.weights]
    functions = model.signatures()
    for name, function in functions.items():
        setattr(module, name, function)
    tf.saved_model.save(module, str(tmp_path / "served"), signatures=functions)
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    arguments = model.signature_arguments(2, 1.0, 3)
    tokens = served["accompany"](**arguments)["events"]
    melody = arguments["melody"]
    asked = dataclasses.replace(request(), num_tokens=None)
    wanted = generate_tokens(model, [], asked, tokens.shape[1], melody)
    np.testing.assert_array_equal(tokens, wanted)
    melodies = tf.stack([melody] * 2)
    likelihood = served["log_likelihood"](events=tokens, melody=melodies)["log_likelihood"]
    np.testing.assert_allclose(likelihood, model.log_likelihood(tokens, melodies), rtol=1e-4)
