"""Batches are a pure function of (seed, step)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from magenta_lite.data.pipeline import Batches, held_out_batches, transpose
from magenta_lite.models.base import Draw

DRAWS = {"noise": Draw("normal", (3,)), "uniforms": Draw("uniform", (4, 2))}


def batches(size=20, batch_size=8, **changes):
    events = np.random.default_rng(0).integers(0, 90, (size, 6)).astype(np.uint8)
    events[:, 0] = np.arange(size) % 2  # ids 0 and 1 are no notes: transposition leaves them
    settings = {"draws": DRAWS, "transpose": (-5, 5), "pitch_ids": (2, 89)} | changes
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
    shifted = transpose(ids, np.array([-5, 5, -5, 4], np.int32), (2, 89)).numpy()
    expected = [[0, 1, 2, 49], [0, 1, 51, 89], [0, 1, 35, 45], [0, 1, 1, 0]]
    assert shifted.tolist() == expected


def test_transpositions_are_drawn_anew_and_reach_both_ends():
    same = Batches(
        np.full((1, 2), 40, np.uint8),
        np.array([2], np.int32),
        batch_size=200,
        seed=1,
        transpose=(-5, 5),
        pitch_ids=(2, 89),
    )
    first, second = (b["events"][:, 0] for b in take(same.dataset(), 2))
    assert sorted(set(first.tolist())) == list(range(35, 46))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("size", "batch_size", "replicas", "expected"),
    [(1024, 512, 1, (512, 2)), (700, 512, 1, (350, 2)), (5, 512, 2, (4, 1)), (0, 8, 1, (0, 0))],
)
def test_held_out_examples_are_cut_into_equal_batches(size, batch_size, replicas, expected):
    assert held_out_batches(size, batch_size, replicas) == expected
