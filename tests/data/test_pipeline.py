"""Batches are a pure function of (seed, step)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.converters.base import EventFormat
from magenta_lite.converters.converter import Converter
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import (
    ROWS_COUNTED,
    Batches,
    batches_for,
    held_out_batches,
    rejected_transpositions,
    rotated_chords,
    transposed,
)
from magenta_lite.modeling.music_model import RandomInput

MELODY = ((0, 2, 89),)  # ids 2 to 89 are pitches

DRAWS = {
    "noise": RandomInput("normal", (3,)),
    "uniforms": RandomInput("uniform", (4, 2)),
    "dropout": RandomInput("seed", (2,)),
}


def batches(size=20, batch_size=8, **changes):
    events = np.random.default_rng(0).integers(0, 90, (size, 6)).astype(np.uint8)
    events[:, 0] = np.arange(size) % 2  # ids 0 and 1 are no notes: transposition leaves them
    settings = {
        "random_inputs": DRAWS,
        "transpose": (-5, 5),
        "pitch_ids": MELODY,
        "controls": (events % 49).astype(np.uint8),
    } | changes
    return Batches(events, np.arange(size, dtype=np.int32), batch_size, seed=3, **settings)


def take(dataset, count):
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def assert_equal_batches(left, right):
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_starting_at_a_step_equals_skipping_to_it():
    assert_equal_batches(take(batches().dataset(), 6)[4:], take(batches().dataset(4), 2))


def test_no_thread_tunes_batches_that_an_iterator_would_have_to_wait_for():
    assert batches().dataset().options().autotune.enabled is False


def test_rows_of_replicas_make_up_the_batch():
    whole = take(batches().dataset(), 3)
    replicas = [take(batches()._local(0, i, 1, 4), 3) for i in range(4)]
    for step, batch in enumerate(whole):
        parts = [replica[step] for replica in replicas]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in batch}
        assert_equal_batches([batch], [joined])
    # Two replicas of one worker: one after the other.
    both = take(batches()._local(0, 2, 2, 4), 6)
    assert_equal_batches(both[::2], replicas[2])
    assert_equal_batches(both[1::2], replicas[3])


def test_every_epoch_has_every_example_once_in_its_own_order():
    lengths = np.concatenate([b["length"] for b in take(batches().dataset(), 5)])  # two epochs
    assert sorted(lengths[:20]) == sorted(lengths[20:]) == list(range(20))
    assert list(lengths[:20]) != list(lengths[20:]) != list(range(20))


def test_set_smaller_than_a_batch_repeats():
    lengths = np.concatenate([b["length"] for b in take(batches(size=3).dataset(), 3)])
    assert np.bincount(lengths).tolist() == [8, 8, 8]


def test_draws_differ_between_steps_and_examples_and_have_their_distribution():
    drawn = take(batches(batch_size=64).dataset(), 2)
    noise = np.concatenate([b["noise"] for b in drawn])
    assert len(np.unique(noise)) > 0.99 * noise.size
    assert abs(noise.mean()) < 0.2 and abs(noise.std() - 1) < 0.2
    uniforms = drawn[0]["uniforms"]
    assert uniforms.min() >= 0 and uniforms.max() < 1 and abs(uniforms.mean() - 0.5) < 0.1


def test_transposition_is_limited_so_that_no_note_leaves_the_range():
    ids = np.array([[0, 1, 3, 50], [0, 1, 50, 88], [0, 1, 40, 50], [0, 1, 1, 0]], np.int32)
    shifted, _ = transposed(tf.constant(ids), tf.constant([-5, 5, -5, 4]), MELODY)
    expected = [[0, 1, 2, 49], [0, 1, 51, 89], [0, 1, 35, 45], [0, 1, 1, 0]]
    assert shifted.numpy().tolist() == expected


def test_pitches_that_leave_the_range_are_folded_where_that_is_asked_for():
    ids = np.array([[0, 1, 3, 50], [0, 1, 50, 88]], np.int32)
    shifted, shift = transposed(tf.constant(ids), tf.constant([-5, 5]), MELODY, fold=True)
    assert shift.numpy().tolist() == [-5, 5]
    assert shifted.numpy().tolist() == [[0, 1, 10, 45], [0, 1, 55, 81]]


def test_transpositions_are_drawn_anew_and_reach_both_ends():
    same = Batches(
        np.full((1, 2), 40, np.uint8),
        np.array([2], np.int32),
        batch_size=200,
        seed=1,
        transpose=(-5, 5),
        pitch_ids=MELODY,
    )
    first, second = (b["events"][:, 0] for b in take(same.dataset(), 2))
    assert sorted(set(first.tolist())) == list(range(35, 46))
    assert first.tolist() != second.tolist()


def test_only_transpositions_that_keep_the_range_are_drawn_and_the_others_counted():
    ids = np.array([[3, 40], [40, 41], [86, 88]], np.uint8)  # of 2 to 89
    batches = Batches(
        ids,
        np.full(3, 2, np.int32),
        batch_size=3000,
        seed=1,
        shuffle=False,
        transpose=(-5, 5),
        pitch_ids=MELODY,
        reject=True,
    )
    (batch,) = take(batches.dataset(), 1)
    shifts = (batch["events"] - np.tile(ids, (1000, 1)))[:, 0].reshape(1000, 3)
    for column, legal in zip(shifts.T, (range(-1, 6), range(-5, 6), range(-5, 2)), strict=True):
        drawn, counts = np.unique(column, return_counts=True)
        assert drawn.tolist() == list(legal)
        assert counts.min() > 0.6 * 1000 / len(legal)  # none more often than others
    assert rejected_transpositions(ids, MELODY, (-5, 5)) == 4 + 0 + 4
    many = np.repeat(ids, ROWS_COUNTED // 2, axis=0)  # the first ones are counted
    assert rejected_transpositions(many, MELODY, (-5, 5)) == (4 + 0) * ROWS_COUNTED // 2


def test_instruments_keep_to_what_they_can_play_as_far_as_they_did():
    ids = np.array([[30, 40], [20, 40], [20, 70]], np.uint8)  # 25 to 60 can be played
    shifts = shifts_of(ids, pitch_ranges=((25, 60),), transpose=(-6, 6))
    assert [sorted(set(x)) for x in shifts.T] == [list(range(-5, 7)), list(range(7)), [0]]
    assert rejected_transpositions(ids, MELODY, (-6, 6), ((25, 60),)) == 1 + 6 + 12


def test_transpositions_narrow_in_the_second_half_of_a_run():
    ids = np.full((3, 2), 40, np.uint8)
    for step, most in ((0, 6), (50, 6), (75, 4), (100, 2), (200, 2)):
        shifts = shifts_of(ids, step, transpose=(-6, 6), transpose_last=(-2, 2), steps=100)
        assert sorted(set(shifts.ravel())) == list(range(-most, most + 1))


def shifts_of(ids, step=0, **changes):
    """Returns by how much each of three rows moves, (1000, 3)."""
    settings = {"batch_size": 3000, "seed": 1, "shuffle": False, "pitch_ids": MELODY}
    batches = Batches(ids, np.full(3, 2, np.int32), reject=True, **settings | changes)
    batch = next(iter(batches.dataset(step)))["events"].numpy()
    moved = batch.reshape(1000, 3, 2) - ids
    assert (moved[..., 0] == moved[..., 1]).all()
    return moved[..., 0]


def test_gammas_have_their_concentration():
    draws = {"g": RandomInput("gamma", (2,), 0.2)}
    ids = np.full((1, 2), 40, np.uint8)
    batches = Batches(ids, np.array([2], np.int32), batch_size=20000, seed=1, random_inputs=draws)
    drawn = next(iter(batches.dataset()))["g"].numpy()
    assert drawn.shape == (20000, 2)
    assert drawn.mean() == pytest.approx(0.2, abs=0.01)
    assert drawn.var() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("size", "batch_size", "replicas", "expected"),
    [(1024, 512, 1, (512, 2)), (700, 512, 1, (350, 2)), (5, 512, 2, (4, 1)), (0, 8, 1, (0, 0))],
)
def test_held_out_examples_are_cut_into_equal_batches(size, batch_size, replicas, expected):
    assert held_out_batches(size, batch_size, replicas) == expected


def test_parts_move_together_and_the_tightest_of_them_limits_the_shift():
    trio = ((0, 2, 89), (1, 2, 89))
    ids = np.array([[[40, 20, 300], [0, 1, 40]], [[88, 3, 7], [1, 0, 2]]], np.int32)
    for semitones, expected in [(5, [5, 1]), (-5, [-5, -1])]:
        shifted, shift = transposed(tf.constant(ids), tf.fill([2], semitones), trio)
        assert shift.numpy().tolist() == expected
        up, limited = expected
        assert shifted.numpy().tolist() == [
            [[40 + up, 20 + up, 300], [0, 1, 40]],
            [[88 + limited, 3 + limited, 7], [1, 0, 2]],
        ]


def test_chords_move_with_the_notes_inside_their_kind():
    classes = tf.constant([[0, 1, 12, 13, 24, 25, 36, 37, 48]])
    up = rotated_chords(classes, tf.constant([2])).numpy().tolist()
    assert up == [[0, 3, 2, 15, 14, 27, 26, 39, 38]]
    down = rotated_chords(classes, tf.constant([-1])).numpy().tolist()
    assert down == [[0, 12, 11, 24, 23, 36, 35, 48, 47]]


def test_chords_of_a_batch_follow_the_reduced_shift():
    settings = {
        "batch_size": 40,
        "seed": 1,
        "transpose": (-5, 5),
        "pitch_ids": MELODY,
        "controls": np.full((1, 2), 1, np.uint8),
    }
    batch = take(Batches(np.full((1, 2), 87, np.uint8), [2], **settings).dataset(), 1)[0]
    assert batch["controls"].dtype == np.int32
    shift = batch["events"] - 87
    assert shift.max() == 2 and shift.min() == -5
    np.testing.assert_array_equal(batch["controls"], shift % 12 + 1)


TRACKS = {  # note-ons 0-9, note-offs 10-19, program 20, drums 21, end 22
    "pitch_ids": ((0, 0, 9), (0, 10, 19)),
    "segments": 3,
    "end_id": 22,
    "fixed_segment_id": 21,
}


def test_drum_tracks_and_filling_neither_move_nor_limit_the_shift():
    events = np.array([[20, 4, 14, 22, 0, 0, 21, 9, 19, 0, 22, 0, 22, 0, 0, 0, 0, 0]], np.uint16)
    batch = take(Batches(events, [18], 60, 1, transpose=(-5, 5), **TRACKS).dataset(), 1)[0]
    shift = batch["events"][:, 1] - 4
    assert sorted(set(shift.tolist())) == list(range(-4, 6))
    np.testing.assert_array_equal(batch["events"][:, 2] - 14, shift)
    still = [0, *range(3, 18)]
    np.testing.assert_array_equal(batch["events"][:, still], np.tile(events[:, still], (60, 1)))


def test_examples_without_pitches_stay_as_they_are():
    rolls = np.random.default_rng(0).integers(0, 2, (5, 4, 9)).astype(np.uint8)
    batch = take(Batches(rolls, [4] * 5, 5, 1, shuffle=False, transpose=(-5, 5)).dataset(), 1)[0]
    assert batch["events"].dtype == np.int32
    np.testing.assert_array_equal(batch["events"], rolls)
    grooves = np.random.default_rng(0).random((5, 4, 27), np.float32)
    batch = take(Batches(grooves, [4] * 5, 5, 1, shuffle=False).dataset(), 1)[0]
    assert batch["events"].dtype == np.float32
    np.testing.assert_array_equal(batch["events"], grooves)


def test_each_example_of_each_step_has_its_own_seed():
    drawn = take(batches(batch_size=64).dataset(), 2)
    assert drawn[0]["dropout"].dtype == np.int32
    assert len({row.tobytes() for batch in drawn for row in batch["dropout"]}) == 128


class FakeConverter(Converter):
    """A converter with what `batches_for` asks for."""

    event_format = EventFormat("categorical", (23,), control="chords", segments=3, end_id=22)
    pitch_ids = TRACKS["pitch_ids"]
    fixed_segment_id = 21


def test_batches_for_takes_everything_from_converter_and_examples():
    examples = Examples(
        np.zeros((4, 18), np.uint16), np.full(4, 18, np.int32), None, np.ones((4, 18), np.uint8)
    )
    made = batches_for(
        FakeConverter(None),
        examples,
        batch_size=2,
        seed=3,
        random_inputs=DRAWS,
        transpose=(-1, 2),
        shuffle=False,
    )
    for name, value in TRACKS.items():
        assert getattr(made, name) == value
    assert (made.batch_size, made.seed, made.transpose, made.shuffle) == (2, 3, (-1, 2), False)
    assert made.random_inputs is DRAWS
    assert made.controls is examples.controls and made.events is examples.events
    assert take(made.dataset(), 1)[0].keys() == {"events", "length", "example", "controls", *DRAWS}
