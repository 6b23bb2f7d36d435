"""A MusicVAE rewrites bars of a piece."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from test_music_vae_generation import DRUMS, GROOVE, MELODY, TRIO, asked, beat, made, scale, tune

from magenta_lite.errors import UserError
from magenta_lite.families.music_vae import generation, infilling
from magenta_lite.families.music_vae.infilling import Filler, Window, first_bars, with_copies
from magenta_lite.families.music_vae.options import MusicVAEOptions
from magenta_lite.modeling.gaps import Gap


def song(bars=8):
    """Returns a tune, with a bass and drums, at a tempo that doubles after four bars of 2 s."""
    music = tune(*((36, 16 * bar, 16 * bar + 15) for bar in range(bars)), program=33)
    for notes in (scale(bars).notes, beat(bars).notes):
        music.notes.extend(notes)
    for note in music.notes:
        note.start_time, note.end_time = (
            time if time <= 8 else 8 + (time - 8) / 2 for time in (note.start_time, note.end_time)
        )
    music.tempos.add(qpm=240, time=8)
    music.total_time = max(note.end_time for note in music.notes)
    return music


def part_of(note):
    return "drums" if note.is_drum else "bass" if note.program == 33 else "melody"


@pytest.mark.parametrize(
    ("name", "parts"),
    [(MELODY, {"melody"}), (DRUMS, {"drums"}), (TRIO, {"melody", "bass", "drums"})],
)
def test_kept_bars_stay_to_the_note(name, parts, monkeypatch):
    monkeypatch.setattr(infilling, "CANDIDATES", 8)
    given, options = song(), asked("infill", song(), bars="4-6", temperature=1.5)
    options.check(made(name)[1])
    start, end = 6.0, 10.0  # bar 4 lasts 2 s, 5 and 6 one each
    kept = [
        note.SerializeToString()
        for note in given.notes
        if part_of(note) not in parts or not start <= note.start_time < end
    ]
    pieces = generation.generate(*made(name)[:1], options, made(name)[1])
    assert len(pieces) == 2
    for piece in pieces:
        found = [note.SerializeToString() for note in piece.notes]
        assert found[: len(kept)] == kept
        new = piece.notes[len(kept) :]
        assert new and all(start <= n.start_time < n.end_time <= end for n in new)
        assert {part_of(note) for note in new} <= parts
        # On the 16ths of their bars.
        steps = [
            (n.start_time - 6) * 8 if n.start_time < 8 else (n.start_time - 8) * 16 for n in new
        ]
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert pieces[0] != pieces[1]


def gap(first, last, bars=8):
    return Gap("song.mid", song(bars), np.arange(bars + 1.0), first, last, ())


def test_windows_cover_the_bars_and_some_on_each_side():
    assert first_bars(gap(5, 8, 16), 2) == [3, 5, 7]  # bars 4 to 9
    assert first_bars(gap(5, 6), 2) == [3, 5]
    assert first_bars(gap(5, 5), 2) == [3]
    assert first_bars(gap(1, 2), 2) == [0]
    assert first_bars(gap(7, 8), 2) == [6]
    assert first_bars(gap(5, 8, 20), 16) == [0]
    assert first_bars(gap(1, 8), 2) == [0, 2, 4, 6]


def test_the_bars_to_rewrite_are_not_encoded():
    events, kept = np.arange(8), np.array([True, True, False, False, False, False, True, True])
    assert with_copies(events, kept, 2).tolist() == [0, 1, 0, 1, 6, 7, 6, 7]


def test_the_candidate_with_the_most_probable_kept_bars_is_taken(monkeypatch):
    model, converter = made(MELODY)
    events = converter.encode(scale(2)).examples[0]
    kept = np.arange(len(events)) >= 16
    window = Window(0, events, None, kept)
    filler = Filler(model, asked("infill"), 16)
    z = tf.random.stateless_normal([32, model.sizes.latent_size], [1, 2])
    made_events, scores = filler.decoded(z, window, 3)
    np.testing.assert_array_equal(made_events[:, 16:], np.tile(events[16:], (32, 1)))
    assert len(np.unique(made_events, axis=0)) > 1
    # Teacher-forced, these are the log probabilities of the kept steps.
    batch = {"events": made_events, "length": tf.fill([32], len(events))}
    logits = model.decoder(tf.transpose(made_events), z, None, None)
    nll = model.head.nll(logits, tf.transpose(batch["events"])).numpy()
    np.testing.assert_allclose(scores, -nll[16:].sum(axis=0), rtol=1e-4)
    monkeypatch.setattr(infilling, "CANDIDATES", 32)
    best, its_events = filler.best(window, 7)
    np.testing.assert_array_equal(its_events[16:], events[16:])
    assert float(filler.decoded(best[None], window, 7)[1][0]) > float(np.mean(scores))
    # Without kept bars, the vector lies between its neighbours'.
    masked = window._replace(kept=np.zeros(len(events), bool))
    assert len(filler.filled([window, masked, window], 1)) == 3
    assert len(filler.filled([masked], 1)) == 1


def test_vectors_without_bars_to_keep_lie_between_their_neighbours():
    first, last = tf.constant([1.0, 0.0]), tf.constant([0.0, 2.0])
    known = {1: first, 3: last}
    found = [infilling._on_arc(known, i).numpy() for i in range(5)]
    np.testing.assert_allclose(found[2], [0.5**0.5, 2 * 0.5**0.5], rtol=1e-5)
    for i, expected in ((0, first), (1, first), (3, last), (4, last)):
        np.testing.assert_array_equal(found[i], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bars": "9-8"}, "--bars=9-8: tune0.mid has 8 bars; give the first and the last one"),
        ({"bars": "7-9"}, "has 8 bars"),
        ({"bars": ""}, "--bars=: tune0.mid has 8 bars"),
        ({"inputs": ()}, "needs --input=FILE"),
        ({"qpm_given": True}, "leave out --qpm"),
        ({"mode": "sample", "inputs": (), "bars": "5-8"}, "is a number of bars, 1 to 10,000"),
        ({"mode": "sample", "inputs": (), "bars": "0"}, "is a number of bars, 1 to 10,000"),
    ],
)
def test_wrong_bars_are_errors(changes, message):
    with pytest.raises(UserError, match=message):
        options = dataclasses.replace(asked("infill", song(), bars="4"), **changes)
        options.check(made(MELODY)[1])


def test_only_what_the_model_writes_is_rewritten():
    with pytest.raises(UserError, match=r"tune0\.mid has no drums"):
        asked("infill", scale(4), bars="2").check(made(DRUMS)[1])
    assert "infill" not in MusicVAEOptions.modes(made(GROOVE)[1])
    waltz = scale(6)
    waltz.time_signatures.add(numerator=3, denominator=4)
    with pytest.raises(UserError, match=r"only if all of it is in 4/4: time .* 3/4"):
        generation.generate(made(MELODY)[0], asked("infill", waltz, bars="2"), made(MELODY)[1])
