"""Folders of versions: their numbers, and exports that are refused or killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from magenta_lite.errors import UserError
from magenta_lite.serving.versions import new_version


def write(folder: Path, version: int | None = None) -> str:
    with new_version(folder, version, "--output") as (partial, place):
        partial.mkdir()
        (partial / "saved_model.pb").touch()
    assert (place / "saved_model.pb").is_file()
    return place.name


def test_versions_are_numbered(tmp_path):
    folder = tmp_path / "models" / "mine"
    assert [write(folder), write(folder, 7), write(folder), write(folder, 3)] == list("1783")
    assert sorted(path.name for path in folder.iterdir()) == list("1378")
    with pytest.raises(UserError, match=r"7 exists already; .* another --version$"):
        write(folder, 7)


def test_a_folder_with_something_else_is_refused_and_stays(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UserError, match=r"holds saved_model.pb, .*; choose another --output$"):
        write(tmp_path)
    with pytest.raises(UserError, match=r"saved_model.pb is a file, .* another --output$"):
        write(tmp_path / "saved_model.pb")
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model.pb"]


def test_after_an_error_nothing_is_left(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        new_version(tmp_path / "mine", None, "--output") as (partial, _),
    ):
        partial.mkdir()
        raise ZeroDivisionError
    assert list((tmp_path / "mine").iterdir()) == []


def test_an_export_that_is_killed_leaves_whole_versions_only(tmp_path):
    program = Path(__file__).with_name("killed_export.py")
    done = subprocess.run(
        [sys.executable, program, tmp_path / "mine"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10  # moments at which it was killed
