"""A MuseNet that is told how instruments play: training, generation, options."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_musenet_infill import song

from magenta_lite.api import as_run
from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.musenet import controls, vocabulary
from magenta_lite.converters.musenet.codec import Note
from magenta_lite.converters.musenet.converter import PREFIX, MuseNetConverterConfig, to_sequence
from magenta_lite.converters.musenet.places import PARTS
from magenta_lite.converters.musenet.rules import MuseNetRules
from magenta_lite.converters.musenet.vocabulary import DRUMS, PIANO
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError
from magenta_lite.families.musenet import critic, generation, infilling
from magenta_lite.families.musenet.config import MuseNetConfig, MuseNetObjective
from magenta_lite.families.musenet.grammar import Constraints
from magenta_lite.families.musenet.model import MuseNet
from magenta_lite.families.musenet.options import MuseNetOptions
from magenta_lite.modeling import decoding
from magenta_lite.modeling.chunked_decoding import generate_tokens
from magenta_lite.training.trainer import compile_model

CONVERTER = build_converter(
    MuseNetConverterConfig(
        256, merge_doubled=True, places_by_time=True, infill=0.5, controls=0.5, min_tokens=8
    )
)
ANYTHING = np.ones(vocabulary.SIZE, bool)


def solo(instrument, distance, count=150):
    """Returns notes of one pitch, in a regular distance in units."""
    length = 1 if instrument is DRUMS else distance - 1
    notes = [Note(i * distance, i * distance + length, 60, 80, instrument) for i in range(count)]
    return to_sequence(notes)


@pytest.fixture(scope="module")
def run():
    """Returns a run that has seen fast and slow solos of the piano and of drums."""
    crop = 20
    config = dataclasses.replace(CONVERTER.config, crop=crop, infill=0.0, controls=0.9)
    converter = build_converter(config)
    pieces = [solo(player, units) for player in (PIANO, DRUMS) for units in (8, 50)]
    rows = [row for piece in pieces for row in converter.encode(piece).examples]
    lengths = np.array([len(row) for row in rows], np.int32)
    padded = np.stack([np.pad(row, [[0, max(lengths) - len(row)], [0, 0]]) for row in rows])
    keras.utils.set_random_seed(1)
    sizes = MuseNetConfig(layers=1, hidden_size=64, heads=2, positions=crop, dropout=0.0)
    objective = MuseNetObjective(0.1, 0.9, volume_shift=0, time_stretch=0.0)
    model = MuseNet(MuseNetRules(), sizes, objective, crop)
    constant = ["train.warmup_steps=5", "train.min_learning_rate=3e-3"]
    trained = get_config("musenet_nano", ["train.steps=200", *constant])
    trained = dataclasses.replace(trained, converter=config, model=sizes, objective=objective)
    compile_model(model, trained.train)
    examples, draws = Examples(padded, lengths, None), model.random_inputs()
    batches = batches_for(converter, examples, batch_size=24, seed=0, random_inputs=draws)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "SHARE", 0.8)  # so that few steps are enough
        model.fit(batches.dataset(), steps_per_epoch=200, epochs=1, verbose=0)
    return as_run(trained, model)


@pytest.mark.parametrize("instrument", ["piano", "drums"])
def test_an_instrument_plays_as_it_is_told(run, instrument):
    found = {}
    for level in ("low", "high"):
        pieces = run.generate(density={instrument: level}, num_outputs=8, num_tokens=20, seed=1)
        own = [n for piece in pieces for n in piece.notes if n.is_drum == (instrument == "drums")]
        found[level] = len(own) / sum(piece.total_time for piece in pieces)
    assert found["high"] > 2 * found["low"] > 0


@functools.cache
def untrained():
    """Returns a model that is not changed, so that it is compiled once."""
    keras.utils.set_random_seed(1)
    sizes = MuseNetConfig(layers=1, hidden_size=32, heads=2, positions=64, dropout=0.0)
    objective = MuseNetObjective(critic=0.1, critic_pieces=1)
    model = MuseNet(MuseNetRules(), sizes, objective, 64, fills_gaps=True)
    for weight in model.weights:
        if weight.dtype != "int32":
            weight.assign(weight + np.random.default_rng(2).normal(0, 0.1, weight.shape))
    return model


def options(**changes):
    base = {"density": {"drums": "high"}, "note_length": "piano:short", "num_outputs": 2}
    return MuseNetOptions(**base | changes)


FRONT = CONVERTER.prefix(None, ["piano", "drums"])
TOLD = options().control_ids()


def test_the_context_keeps_the_controls(monkeypatch):
    """They stay when it slides, and other controls give other music."""
    windows, reread = [], decoding._reread

    def spy(model, window, *args):
        windows.append(window.numpy())
        return reread(model, window, *args)

    monkeypatch.setattr(decoding, "_reread", spy)
    plan = Constraints(0, ANYTHING, controls=len(TOLD))
    rows = generate_tokens(untrained(), FRONT + TOLD, options(seed=2), 150, plan)
    assert len(windows) > 2
    length = len(FRONT + TOLD)
    for number, window in enumerate(windows):
        assert window.shape == (2, length + 32)
        assert (window[:, :length] == FRONT + TOLD).all()
        end = 64 + number * (64 - length - 32)
        np.testing.assert_array_equal(window[:, length:], rows[:, end - 32 : end])
    others = options(density="drums:low").control_ids()
    assert len(others) == len(TOLD) != 0
    other = generate_tokens(untrained(), FRONT + others, options(seed=2), 150, plan)
    assert not np.array_equal(other[:, length:], rows[:, length:])


def test_guidance_moves_away_from_music_of_which_nothing_is_told():
    plan = Constraints(0, ANYTHING, 2.5, controls=len(TOLD))
    greedy = options(temperature=0.0, num_outputs=1)
    (row,) = generate_tokens(untrained(), FRONT + TOLD, greedy, 60, plan)
    row = np.trim_zeros(row, "b")
    told = np.stack([row, *np.full((2, len(row)), PARTS)], axis=1).astype(np.int32)
    untold, length = told.copy(), len(FRONT + TOLD)
    untold[[*range(2), *range(PREFIX, length)], 0] = vocabulary.UNSPECIFIED
    told, untold = tf.nn.log_softmax(untrained()({"events": tf.stack([told, untold])})).numpy()
    logits, rules = untold + 2.5 * (told - untold), MuseNetRules()
    counted = 0
    for t in range(length, len(row)):
        possible = np.where(rules.valid_next(row[length:t]), logits[t], -1e30)
        second, first = np.sort(possible)[-2:]
        if first - second > 1e-3:
            assert row[t] == np.argmax(possible), t
            counted += 1
    assert counted > 30


def test_the_critic_reads_music_without_controls_and_the_likelihood_is_given_them():
    plan = Constraints(0, ANYTHING, controls=len(TOLD))
    model, length = untrained(), len(FRONT + TOLD)
    rows = generate_tokens(model, FRONT + TOLD, options(num_outputs=4), 60, plan)
    plain = np.concatenate([rows[:, :PREFIX], rows[:, length:]], axis=1)
    for rank, score in (
        ("critic", critic.judged(model, plain, plan)[0]),
        ("likelihood", critic.judged(model, rows, plan)[1]),
    ):
        best = generation._best(model, rows, options(candidates=2, rank=rank), plan)
        np.testing.assert_array_equal(best, rows[np.argsort(-score)[:2]])
    row = np.trim_zeros(rows[1], "b")
    events = np.stack([row, *np.full((2, len(row)), PARTS)], axis=1).astype(np.int32)
    log_p = tf.nn.log_softmax(model({"events": events[None]}))[0].numpy()
    expected = log_p[np.arange(length, len(row)), row[length:]].mean()
    assert score[1] == pytest.approx(expected, abs=1e-4)


def test_every_mode_takes_controls():
    piece = song(12)
    model, converter = untrained(), CONVERTER
    for mode, changes in (
        ("sample", {"num_tokens": 40}),
        ("continue", {"num_tokens": 60, "primer_seconds": 2.0}),
        ("accompany", {"instruments": ("piano",), "note_length": "piano:long"}),
    ):
        inputs = () if mode == "sample" else (("song.mid", song(1)),)
        asked = options(mode=mode, inputs=inputs, seed=3, **changes)
        pieces = model.generate(asked, converter)
        assert len(pieces) == 2 and all(len(each.notes) for each in pieces)
    asked = options(mode="infill", inputs=(("song.mid", piece),), bars="5", note_length=())
    asked.check(converter)
    (gap,) = asked.gaps()
    ids, total, constraints = infilling.primer_of(gap, asked, converter, 256)
    drums = vocabulary.FIRST_CONTROL + 9
    assert ids[PREFIX:][:3] == [drums, drums + 3, vocabulary.GAP] and total <= 256
    assert constraints.controls == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"polyphony": ("piano:thick",)}, "Unknown polyphony 'thick'. Known: high, low, medium"),
        ({"instruments": ("piano",)}, "--instruments=piano has no drums; add it"),
        (
            {"mode": "infill", "inputs": (("song.mid", song(12)),), "bars": "5"},
            "the tracks to rewrite have no piano; leave piano out, or choose --tracks",
        ),
    ],
)
def test_wrong_controls_are_errors(changes, message):
    with pytest.raises(UserError, match=message):
        options(**changes).check(CONVERTER)


def test_only_models_that_learned_them_have_them():
    assert {"density", "polyphony", "pitch_range", "note_length"} <= {
        *MuseNetOptions.names(CONVERTER)
    }
    former = build_converter(MuseNetConverterConfig())
    assert "density" not in MuseNetOptions.names(former)
    with pytest.raises(UserError, match=r"--density means .*; models trained with --set converter"):
        options().check(former)
    assert get_config("musenet_tiny").converter.controls == 0.5
    assert get_config("musenet_tiny", original=True).converter.controls == 0
