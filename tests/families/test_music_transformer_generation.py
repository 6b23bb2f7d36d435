"""A Music Transformer writes pieces, and is saved and served."""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.modeling import decoding
from magenta_lite.modeling.chunked_decoding import generate_tokens
from magenta_lite.modeling.sampling import Sampler

TINY = get_config("music_transformer_tiny")


def request(**changes):
    values = {
        "mode": "sample",
        "inputs": [],
        "num_outputs": 2,
        "temperature": 1.0,
        "seed": 3,
        "qpm": 120.0,
        "num_tokens": 300,
    }
    return MusicTransformerOptions(**values | changes)


@pytest.fixture(scope="module")
def tiny():
    converter = build_converter(TINY.converter)
    keras.utils.set_random_seed(0)
    return build_model(TINY, converter), converter


def test_1000_streams_of_an_untrained_model_have_no_hung_and_no_doubled_note(tiny):
    model, converter = tiny
    tokens = generate_tokens(model, [], request(num_outputs=1000, num_tokens=96), 96)
    assert tokens.shape == (1000, 96) and len({row.tobytes() for row in tokens}) == 1000
    codec, places = converter.codec, np.arange(88)
    sounding, silent = np.zeros((1000, 88), bool), np.zeros(1000, int)
    for ids in tokens.T:
        begins = ids[:, None] == codec.note_on[0] + places
        ends = ids[:, None] == codec.note_off[0] + places
        assert not (begins & sounding).any() and not (ends & ~sounding).any()
        sounding = (sounding | begins) & ~ends
        shift = np.where((ids >= 178) & (ids <= 277), ids - 177, 0)
        silent = np.where(sounding.any(axis=1), 0, silent + shift)
        assert silent.max() <= 400 and ids.min() > 1
    for row in tokens[::50]:
        assert converter.decode(row).total_time <= converter.codec.steps(row) / 100


def test_an_output_does_not_depend_on_how_many_there_are_and_batches_equal_the_graph(tiny):
    model, _ = tiny
    many = generate_tokens(model, [], request(num_outputs=3), 300)
    one = generate_tokens(model, [], request(num_outputs=1), 300)
    np.testing.assert_array_equal(many[:1], one)
    events, score = decoding.sample(model, [], 3, 300, 3, Sampler())
    np.testing.assert_array_equal(events, many)
    nll = -model.log_likelihood(tf.constant(many))
    assert (score.numpy() > -nll.numpy() - 1e-2).all()  # what must not follow is not counted
    other = generate_tokens(model, [], request(num_outputs=1, seed=4), 300)
    assert (other != one).any()


def test_drawing_from_the_most_probable_alone_is_greedy(tiny):
    model, _ = tiny
    greedy = generate_tokens(model, [], request(temperature=0.0), 60)
    for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        drawn = generate_tokens(model, [], request(**settings), 60)
        np.testing.assert_array_equal(drawn, greedy)


def test_filters_let_sounding_notes_end(tiny):
    """Beside the two most probable tokens, which are no note-offs, these remain."""
    model, converter = tiny
    first, last = converter.codec.note_off
    tokens = generate_tokens(model, [], request(num_outputs=100, top_k=2), 96)
    state, ends, expected, before = model.grammar.initial_state(100), 0, 0.0, 0.0
    logits = model({"events": tf.constant(tokens)})
    for t in range(96):
        allowed = model.grammar.allowed(state)
        p = tf.nn.softmax(tf.where(allowed, logits[:, t], logits.dtype.min)).numpy()
        off = np.zeros_like(p, bool)
        off[:, first : last + 1] = allowed[:, first : last + 1]
        top = p >= np.sort(p)[:, -2:-1]
        share = np.sum(p * off, axis=1) / np.sum(p * (top | off), axis=1)
        expected += float(share.sum())
        before += float(np.sum(p * (top & off)) / np.sum(p * top))
        ends += np.sum((tokens[:, t] >= first) & (tokens[:, t] <= last))
        state = model.grammar.next_state(state, tokens[:, t])
    assert expected > 10 * max(before, 10)
    assert ends == pytest.approx(expected, abs=4 * expected**0.5)


def test_a_piece_goes_on_as_one_stream(tiny):
    model, converter = tiny
    codec = converter.codec
    ids = [codec.velocity_id + 20, 2 + 40, codec.shift[1], 2 + 45, codec.shift[0] + 49]
    piece = converter.decode(ids)
    sequences = model.generate(
        request(mode="continue", inputs=[("a.mid", piece)], num_outputs=2), converter
    )
    assert len(sequences) == 2
    for sequence in sequences:
        first = min(sequence.notes, key=lambda note: (note.start_time, note.pitch))
        assert (first.pitch, first.start_time) == (61, 0.0)
        (marker,) = sequence.text_annotations
        assert (marker.text, marker.time) == ("continuation", 1.5)
    new = model.generate(
        request(mode="continue", inputs=[("a.mid", piece)], num_outputs=1, only_new=True), converter
    )
    assert all(note.start_time >= 0 for note in new[0].notes)
    assert not new[0].text_annotations


def test_what_is_new_of_a_chorale_begins_where_its_primer_ends():
    config = get_config(
        "music_transformer_jsb", ["model.layers=1", "model.hidden_size=32", "converter.crop=128"]
    )
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    piece = converter.decode(converter.ids_of_grid([[72, 67, 64, 48]] * 8), qpm=90.0)
    asked = request(
        mode="continue", inputs=[("a.mid", piece)], num_outputs=1, qpm=90.0, num_tokens=96
    )
    (whole,) = model.generate(asked, converter)
    (new,) = model.generate(dataclasses.replace(asked, only_new=True), converter)
    start = 8 * 60 / 90 / 4
    wanted = [(n.pitch, n.start_time - start) for n in whole.notes if n.start_time >= start - 1e-9]
    assert [(n.pitch, pytest.approx(n.start_time)) for n in new.notes] == wanted
    assert 0 < new.total_time <= whole.total_time - start + 1e-9


def test_primers_that_do_not_fit_are_answered_in_a_line(tiny, capsys):
    model, converter = tiny
    codec = converter.codec
    long = converter.decode([2 + 40, codec.shift[0], 90 + 40] * 200)

    def refused(**changes):
        with pytest.raises(ValueError) as error:
            model.generate(request(**changes), converter)
        return str(error.value)

    assert "--input" in refused(mode="continue")
    assert "--mode=continue" in refused(inputs=[("a", long)])
    assert "nothing to go on from" in refused(mode="continue", inputs=[("a", type(long)())])
    assert "--primer_seconds" in refused(mode="continue", inputs=[("a", long)], num_tokens=20)
    model.generate(
        request(mode="continue", inputs=[("a", long)], num_tokens=700, num_outputs=1), converter
    )
    assert "goes on from the last" in capsys.readouterr().err


# Saving and serving ----------------------------------------------------------------------------


def test_a_saved_model_gives_the_same_numbers_in_another_process(tiny, tmp_path):
    model, _ = tiny
    ids = np.random.default_rng(0).integers(2, 310, size=(2, 40)).astype(np.int32)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", ids=ids, logits=model({"events": tf.constant(ids)}))
    code = (
        "import keras, numpy as np, sys\n"
        "import magenta_lite.families.music_transformer.model\n"
        "model = keras.models.load_model(sys.argv[1] + '/model.keras')\n"
        "x = np.load(sys.argv[1] + '/x.npz')\n"
        "np.testing.assert_array_equal(model({'events': x['ids']}), x['logits'])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_served_functions_give_what_generate_gives(tiny, tmp_path):
    model, _ = tiny
    module = tf.Module()
    module.model_weights = [weight.value for weight in model.weights]
    functions = model.signatures()
    for name, function in functions.items():
        setattr(module, name, function)
    tf.saved_model.save(module, str(tmp_path / "served"), signatures=functions)
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    arguments = model.signature_arguments(2, 1.0, 3)
    tokens = served["generate"](**arguments)["events"]
    wanted = generate_tokens(model, [], request(num_tokens=None), tokens.shape[1])
    np.testing.assert_array_equal(tokens, wanted)
    primer = tokens[0, :150]
    gone_on = served["continue"](primer=primer, **arguments)["events"]
    np.testing.assert_array_equal(gone_on[:, :150], np.stack([primer] * 2))
    assert gone_on.shape == tokens.shape
    likelihood = served["log_likelihood"](events=tokens)["log_likelihood"]
    np.testing.assert_allclose(likelihood, model.log_likelihood(tokens), rtol=1e-4)
