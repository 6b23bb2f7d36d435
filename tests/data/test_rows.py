"""Built data sets as memory-mapped arrays."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from magenta_lite.data import rows, stored
from magenta_lite.data.collections import Collection
from magenta_lite.data.pipeline import Batches
from magenta_lite.errors import UserError
from magenta_lite.modeling.examples import RaggedArray

LENGTHS = [3, 0, 7, 5, 7, 1]
BYTES = {"encoding": "zlib"}


def _examples(seed: int, lengths=LENGTHS) -> list[dict]:
    draw = np.random.default_rng(seed)
    return [
        {
            "events": draw.integers(-9, 9, (length, 2)).astype(np.int16),
            "controls": draw.integers(0, 49, length).astype(np.uint8),
            "position": np.array([i, 100], np.int64),
            "piece": "même" if i % 2 else f"piece {i}",
        }
        for i, length in enumerate(lengths)
    ]


def _store(folder: Path, examples: list[dict], **encoding: str) -> Path:
    """Writes a TFDS data set of one split, and returns its folder."""
    tensor = tfds.features.Tensor
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        "windows",
        "1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "events": tensor(shape=(None, 2), dtype=np.int16, **encoding),
                "controls": tfds.features.Sequence(np.uint8),
                "position": tensor(shape=(2,), dtype=np.int64),
                "piece": tfds.features.Text(),
            }
        ),
        split_datasets={"train": list(enumerate(examples))},
        data_dir=folder,
        disable_shuffling=True,
    )
    return Path(builder.data_dir)


def _split(folder: Path):
    return Collection(tfds.builder_from_directory(str(folder))).split("train")


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{stored.ROWS}*"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return _store(tmp_path_factory.mktemp("built"), _examples(0))


@pytest.fixture
def folder(built, tmp_path):
    """A copy of a data set that has not been opened yet."""
    return Path(shutil.copytree(built, tmp_path / "1.0.0", copy_function=shutil.copy2))


def _padded(examples: list[dict], name: str) -> np.ndarray:
    longest = max(len(example[name]) for example in examples)
    padded = np.zeros(
        (len(examples), longest, *examples[0][name].shape[1:]), examples[0][name].dtype
    )
    for row, example in zip(padded, examples, strict=True):
        row[: len(example[name])] = example[name]
    return padded


def _assert_equal(split, examples: list[dict]) -> None:
    for name, rows_read in {"events": split.events, "controls": split.controls}.items():
        np.testing.assert_array_equal(rows_read, _padded(examples, name), strict=True)
    lengths = np.array([len(example["events"]) for example in examples], np.int32)
    np.testing.assert_array_equal(split.lengths, lengths, strict=True)
    positions = np.stack([example["position"] for example in examples])
    np.testing.assert_array_equal(split.positions, positions, strict=True)
    assert list(split.pieces) == [example["piece"] for example in examples]


@pytest.mark.parametrize("lengths", [LENGTHS, [4, 4, 4], [0, 0]], ids=["ragged", "equal", "empty"])
@pytest.mark.parametrize("encoding", [{}, BYTES], ids=["integers", "bytes"])
def test_examples_are_read_as_they_were_stored(tmp_path, monkeypatch, lengths, encoding):
    monkeypatch.setattr(rows, "BATCH", 4)  # several batches
    examples = _examples(1, lengths)
    folder = _store(tmp_path, examples, **encoding)
    _assert_equal(_split(folder), examples)
    _assert_equal(_split(folder), examples)


def test_examples_are_copied_once_and_mapped_into_memory(folder, monkeypatch):
    first = _split(folder)
    (copied,) = _folders(folder)
    monkeypatch.setattr(rows, "_parsed", None)  # reading the records again would fail
    second = _split(folder)
    _assert_equal(second, _examples(0))
    assert _folders(folder) == [copied]
    for split in (first, second):
        flat = split.events.flat
        assert not flat.flags.writeable
        while isinstance(flat.base, np.ndarray):
            flat = flat.base
        assert isinstance(flat, np.memmap)


def test_arrays_of_other_records_are_not_used_but_removed(folder, tmp_path):
    _split(folder)
    (outdated,) = _folders(folder)
    (folder / f".partial-{stored.ROWS}train-0").mkdir()  # of a killed process
    other = _store(tmp_path / "other", _examples(0)[::-1])  # of the same size
    for path in other.glob("*tfrecord*"):
        before = (folder / path.name).stat()
        shutil.copy(path, folder / path.name)
        assert (folder / path.name).stat().st_size == before.st_size
    _assert_equal(_split(folder), _examples(0)[::-1])
    (copied,) = _folders(folder)
    assert copied != outdated


def test_a_data_set_that_cannot_be_written_beside_is_read_without_a_copy(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    before = sorted(folder.iterdir())
    split = _split(folder)
    _assert_equal(split, _examples(0))
    assert sorted(folder.iterdir()) == before


def test_a_full_disk_is_a_user_error_and_leaves_nothing(folder, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(folder.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(rows, "_write", full)
        with pytest.raises(UserError, match=r"\(No space left on device\); free some space"):
            _split(folder)
    assert sorted(folder.iterdir()) == before
    _assert_equal(_split(folder), _examples(0))


def _ragged(examples: list[dict], name: str) -> RaggedArray:
    lengths = np.array([len(example[name]) for example in examples], np.int32)
    flat = np.concatenate([example[name] for example in examples])
    return RaggedArray(flat, np.cumsum(lengths, dtype=np.int64) - lengths, lengths)


def test_rows_of_different_lengths_are_indexed_as_padded_ones():
    examples = _examples(3)
    ragged, padded = _ragged(examples, "events"), _padded(examples, "events")
    chosen = np.array([4, 0, 0, 5])
    for index in (
        0,
        -1,
        slice(1, 4),
        slice(None, None, -2),
        slice(3, 3),
        chosen,
        padded[:, 0, 0] > 0,
        (2, slice(1, 3)),
        (slice(None), slice(None, 4)),
        (slice(1, 3), slice(None), 1),
        (chosen, 2),
        (..., 0),
    ):
        np.testing.assert_array_equal(ragged[index], padded[index], strict=True)
    np.testing.assert_array_equal(np.stack(list(ragged)), padded, strict=True)
    assert (ragged.shape, ragged.dtype, len(ragged)) == (padded.shape, padded.dtype, len(padded))
    with pytest.raises(IndexError):
        ragged[6]


def test_batches_of_rows_of_different_lengths_are_those_of_padded_rows():
    examples = _examples(4)
    lengths = np.array(LENGTHS, np.int32)

    def batches(rows_of):
        events, controls = rows_of(examples, "events"), rows_of(examples, "controls")
        made = Batches(
            events, lengths, 4, 1, transpose=(-2, 2), pitch_ids=((0, -9, 9),), controls=controls
        )
        return list(made.dataset().take(5).as_numpy_iterator())

    for one, other in zip(batches(_ragged), batches(_padded), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], strict=True)
