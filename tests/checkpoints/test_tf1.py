"""Checkpoints of TensorFlow 1 that are cut off, damaged, or not checkpoints at all."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from magenta_lite.checkpoints.tf1 import open_checkpoint
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "music_vae" / "tiny-cat-mel_2bar_small"
SHARD = "trained.ckpt.data-00000-of-00001"
INDEX = "trained.ckpt.index"


@pytest.fixture
def folder(tmp_path):
    """A copy of a checkpoint that may be damaged."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in GOLDEN.glob("trained.ckpt*"):
        shutil.copy(path, folder)
    return folder


def pack(folder, path, mode="w"):
    with tarfile.open(path, mode) as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, arcname=f"some/folder/{file.name}")
    return path


def read_all(path):
    with open_checkpoint(path) as variables:
        return {name: variables[name] for name in variables}


def error_of(path):
    """Returns the one line that a user gets to read."""
    with pytest.raises(UserError) as caught:
        read_all(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_form_of_a_checkpoint_gives_the_same_numbers(folder, tmp_path, mode):
    expected = read_all(GOLDEN / "trained.ckpt")
    assert "encoder/mu/kernel" in expected
    for form in (folder, folder / INDEX, folder / SHARD, pack(folder, tmp_path / "a.tar", mode)):
        actual = read_all(form)
        assert actual.keys() == expected.keys()
        assert all(np.array_equal(actual[name], expected[name]) for name in expected)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("length", [0, 10, 300, 700, 5_000, 200_000])
def test_a_tar_that_is_cut_off_anywhere_is_told_in_one_line(folder, tmp_path, mode, length):
    path = pack(folder, tmp_path / "cut.tar", mode)
    path.write_bytes(path.read_bytes()[:length])
    message = error_of(path)
    assert "damaged or cut off" in message or f"({length:,} bytes) is not a checkpoint" in message


def test_a_tar_without_a_checkpoint_or_with_half_of_one(folder, tmp_path):
    (folder / SHARD).unlink()
    assert f"{SHARD} is missing" in error_of(pack(folder, tmp_path / "half.tar"))
    (folder / INDEX).rename(folder / "readme.txt")
    assert "holds no checkpoint" in error_of(pack(folder, tmp_path / "none.tar"))


def test_a_missing_shard_is_named(folder):
    (folder / SHARD).unlink()
    assert f"{SHARD} is missing" in error_of(folder)
    (folder / SHARD.replace("00001", "00003")).write_bytes(b"")
    assert "trained.ckpt.data-00001-of-00003 is missing" in error_of(folder)


@pytest.mark.parametrize("length", [0, 100, 100_000])
def test_a_shard_that_is_too_short_is_told(folder, length):
    data = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(data[:length])
    assert "damaged or cut off" in error_of(folder)


def test_a_flipped_bit_is_told(folder):
    # Every value has a checksum; those of Adam's slots are not looked at.
    data = np.frombuffer((folder / SHARD).read_bytes(), np.uint8).copy()
    data[:: len(data) // 500] ^= 1
    (folder / SHARD).write_bytes(data.tobytes())
    assert "damaged or cut off" in error_of(folder)


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100, None])
def test_a_damaged_index_is_told(folder, content):
    path = folder / INDEX
    path.write_bytes(path.read_bytes()[:100] if content is None else content)
    assert "cannot be read as a checkpoint" in error_of(folder)


def test_what_is_no_checkpoint_is_told(folder, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no checkpoint")
    assert "(13 bytes) is not a checkpoint" in error_of(text)
    assert "there is no nothing.index" in error_of(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "no .index file" in error_of(tmp_path / "empty")


@pytest.mark.parametrize("content", [b"rubbish {{{", b"\xff\xfe\x00"])
def test_a_damaged_list_of_checkpoints_is_no_harm(folder, content):
    (folder / "checkpoint").write_bytes(content)
    assert len(read_all(folder)) > 10


def test_a_checkpoint_of_another_configuration_is_told_by_its_variables(folder):
    with open_checkpoint(folder) as variables:
        with pytest.raises(UserError, match="belongs to another configuration"):
            variables["decoder/hierarchical_level_0/initial_state/kernel"]
        with pytest.raises(UserError, match="has no place for"):
            variables.check_all_used()
        for name in variables:
            variables[name]
        variables.check_all_used()
        assert variables.global_step == 1205


def test_a_checkpoint_that_names_no_step_has_step_0(folder):
    with open_checkpoint(folder) as variables:
        assert "encoder/mu/kernel" in variables
        assert "encoder/nu/kernel" not in variables
        del variables._shapes["global_step"]
        assert variables.global_step == 0
