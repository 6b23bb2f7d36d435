"""`generate --mode=infill` for chorales: bars before, after and voices that stay are given."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import music_pb2
from small_chorales import TWO_PITCHES, made

from magenta_lite.data.collections import Examples
from magenta_lite.errors import UserError
from magenta_lite.families.music_transformer import chorale_evaluation, harmony_evaluation
from magenta_lite.families.music_transformer.chorale_infilling import in_sight, rewritten
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.modeling.particles import complete


@pytest.fixture(scope="module")
def small():
    return made("converter.crop=256")


@pytest.fixture(scope="module")
def narrow():
    """Two pitches and a rest, so that all ways can be enumerated."""
    return made(*TWO_PITCHES, "converter.crop=16")[0]


def chorale(bars=4, tie=False):
    """Returns a chorale of quarters at 120 a minute; with `tie` the alto holds over bar lines."""
    piece = music_pb2.NoteSequence()
    piece.tempos.add(qpm=120)
    for bar, quarter in itertools.product(range(bars), range(4)):
        start = 2 * bar + quarter / 2
        for voice, pitch in enumerate((72, 67, 60, 48)):
            is_tied = tie and voice == 1
            if is_tied and quarter == 0 and bar:
                continue
            piece.notes.add(
                pitch=pitch + quarter + bar % 2,
                start_time=start,
                end_time=start + (0.75 if is_tied and quarter == 3 else 0.5),
                velocity=70 + voice,
                instrument=voice,
            )
    piece.total_time = 2.0 * bars
    return piece


def infill(model, converter, song, **changes):
    asked = MusicTransformerOptions(
        "infill", (("song", song),), num_outputs=2, seed=3, bars="2-3", particles=4
    )
    return model.generate(asked.replace(**changes), converter)


def sounding(piece, voice, start, end):
    """Returns the pitch of a voice at each sixteenth from `start` to `end`, 0 for a rest."""
    steps = np.zeros(round(8 * piece.total_time) + 4, int)
    for note in piece.notes:
        if note.instrument == voice:
            steps[round(8 * note.start_time) : round(8 * note.end_time)] = note.pitch
    return steps[start:end].tolist()


@pytest.mark.parametrize("tracks", [(), ("Tenor", "soprano")])
def test_everything_else_stays_to_the_note(small, tracks):
    song, written = chorale(), {0, 2} if tracks else {0, 1, 2, 3}
    stays = [n for n in song.notes if not 2 <= n.start_time < 6 or n.instrument not in written]
    pieces = infill(*small, song, tracks=tracks)
    assert str(pieces[0].notes) != str(pieces[1].notes)
    for piece in pieces:
        assert list(piece.notes[: len(stays)]) == stays
        added = piece.notes[len(stays) :]
        assert added and {n.instrument for n in added} <= written
        assert all(2 <= n.start_time < n.end_time <= 6 for n in added)
        assert all(n.velocity == 70 + n.instrument for n in added)
        assert piece.total_time == song.total_time


def test_notes_over_the_bar_lines_sound_as_before(small):
    song = chorale(tie=True)
    (piece,) = infill(*small, song, tracks=("alto",), num_outputs=1)
    assert sounding(piece, 1, 0, 18) == sounding(song, 1, 0, 18)  # into bar 2
    assert sounding(piece, 1, 48, 64) == sounding(song, 1, 48, 64)  # from bar 4 on
    assert sounding(piece, 1, 18, 48) != sounding(song, 1, 18, 48)


def test_bars_follow_the_distribution_given_what_comes_after(narrow):
    """The exact distribution of a step between two others, by enumeration."""
    before, after = [4, 3, 2, 4], [2, 2, 4, 3]
    ways = list(itertools.product(range(2, 5), repeat=2))
    rows = np.array([(*before, *way, 3, 2, *after) for way in ways])
    logits = narrow({"events": tf.constant(rows, tf.int32)})[..., 2:]
    log_p = tf.gather(tf.nn.log_softmax(logits), rows - 2, axis=2, batch_dims=2)
    expected = tf.nn.softmax(tf.reduce_sum(log_p, axis=1)).numpy()
    given = np.array([*before, -1, -1, 3, 2, *after])
    asked = MusicTransformerOptions(num_outputs=150, seed=1)
    pieces = complete(narrow, given, asked, 64, every=4)
    assert (pieces[:, given >= 0] == given[given >= 0]).all()
    share = np.bincount((pieces[:, 4:6] - 2) @ [3, 1], minlength=9) / 150
    assert np.abs(share - expected).sum() / 2 < 0.12


def test_a_long_piece_is_read_around_the_bars(small):
    model, converter = small  # 64 steps in sight
    (gap,) = MusicTransformerOptions("infill", (("song", chorale(12)),), bars="6").gaps()
    what = rewritten(gap, converter, ())
    assert in_sight(what, model.context_length) == (56, 120)
    (piece,) = infill(model, converter, chorale(12), bars="6", num_outputs=1)
    assert piece.total_time == 24


def test_evaluation_gives_the_gap_both_sides(narrow, monkeypatch):
    """With all that a model writes in the gap in place of samples, the exact number."""
    rows = np.random.default_rng(0).integers(2, 5, (2, 32)).astype(np.int32)
    ways = np.array(list(itertools.product(range(2, 5), repeat=4)))

    def nll(ids, first, last):
        log_p = tf.nn.log_softmax(narrow({"events": tf.constant(ids)}))
        return -tf.gather(log_p, ids, axis=2, batch_dims=2).numpy()[:, first:last].sum(axis=1)

    written = iter([ways[:5], ways[40:45]])
    monkeypatch.setattr(chorale_evaluation, "_written", lambda *_: next(written))
    expected, continued = np.zeros(2)
    for row, samples in zip(rows[:, :16], (ways[:5], ways[40:45]), strict=True):
        every = np.tile(row, (1 + len(samples), 1))
        every[1:, 4:8] = samples
        of_rest = nll(every, 8, 16)
        continued += nll(row[None], 4, 8)[0] / 8
        expected += (nll(row[None], 4, 8)[0] + of_rest[0] + np.log(np.exp(-of_rest).mean())) / 8
    examples = Examples(rows, np.full(2, 32, np.int32), None)
    monkeypatch.setattr(chorale_evaluation, "SAMPLES", 5)
    measured = chorale_evaluation.of_gaps(narrow, examples, seed=0)
    found = [measured["nll_infilled"], measured["nll_continued"]]
    np.testing.assert_allclose(found, [expected, continued], rtol=1e-4)
    short = Examples(rows[:, :12], np.full(2, 12, np.int32), None)
    assert chorale_evaluation.of_gaps(narrow, short, seed=0) == {}


def test_samples_for_evaluation_go_on_from_what_is_before(narrow):
    before = np.array([4, 3, 2, 4])
    found = chorale_evaluation._written(narrow, before, 8, seed=1)
    assert found.shape == (chorale_evaluation.SAMPLES, 4) and set(found.ravel()) <= {2, 3, 4}
    log_p = tf.nn.log_softmax(narrow({"events": tf.constant([[*before, 2]])})[0, 4, 2:]).numpy()
    share = np.bincount(found[:, 0] - 2, minlength=3) / len(found)
    np.testing.assert_allclose(share, np.exp(log_p), atol=0.3)


@pytest.mark.parametrize(
    ("song", "changes", "words"),
    [
        (chorale(), {"tracks": ("alt",)}, "Unknown voice 'alt'"),
        (chorale(), {"bars": "5"}, "--bars=5: song has 4 bars"),
        (chorale(), {"num_tokens": 9}, "leave out --num_tokens"),
        (chorale(), {"inputs": ()}, "needs --input=FILE"),
        (chorale(6), {"bars": "1-6"}, r"bars 1-6 are 384 tokens, and the model sees 256"),
        (chorale(), {"num_outputs": 1000, "particles": 32}, "--particles=32 of --num_outputs"),
    ],
)
def test_wrong_requests_are_told_in_one_line(small, song, changes, words):
    with pytest.raises(UserError, match=words) as error:
        infill(*small, song, **changes)
    assert "\n" not in str(error.value)


def test_a_piece_without_the_voice_is_refused(small):
    duet = chorale()
    kept = [note for note in duet.notes if note.instrument < 2]
    del duet.notes[:]
    duet.notes.extend(kept)
    with pytest.raises(UserError, match="song has 2 voices, the highest first; --tracks=bass"):
        infill(*small, duet, tracks=("bass",))


def test_the_probability_of_a_soprano_is_estimated(narrow, monkeypatch):
    """Beside the exact one, the sum over all that the other voices could sing."""
    ways = np.array(list(itertools.product(range(2, 5), repeat=6)))
    row = np.array([3, 4, 2, 2, 4, 3, 2, 3], np.int32)
    every = np.empty((len(ways), 8), np.int32)
    every[:, 0], every[:, 4], every[:, 1:4], every[:, 5:] = 3, 4, ways[:, :3], ways[:, 3:]

    def log_p(ids, first=0):  # among the tokens from the first one on
        each = tf.nn.log_softmax(narrow({"events": tf.constant(ids)})[..., first:])
        return tf.gather(each, ids - first, axis=2, batch_dims=2).numpy()

    def estimated(itself, seed=1):
        return harmony_evaluation.log_evidence(narrow, row, -itself[::4], seed)

    monkeypatch.setattr(harmony_evaluation, "PARTICLES", 512)
    exact = np.log(np.exp(log_p(every, 2).sum(axis=1)).sum())
    found = [estimated(log_p(row[None], 2)[0], seed) for seed in range(6)]
    np.testing.assert_allclose(np.mean(found), exact, atol=0.2)
    examples = Examples(row[None], np.full(1, 8, np.int32), None)
    measured = harmony_evaluation.of_lower_voices(narrow, examples, seed=1)
    itself = log_p(row[None])[0]
    found = estimated(itself)
    np.testing.assert_allclose(measured["nll_harmonized"], (found - itself.sum()) / 6, rtol=1e-4)
    lower = np.delete(itself, [0, 4])
    np.testing.assert_allclose(measured["nll_unharmonized"], -lower.mean(), rtol=1e-4)
