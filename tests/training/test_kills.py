"""Runs that are killed, cut by a power failure, or trained by two processes at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from processes import run
from small_run import MadeUpCollection, small_config

from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.locks import Lock
from magenta_lite.training import trainer
from magenta_lite.training.run_directory import RunDirectory


def test_a_run_goes_on_wherever_it_was_killed(tmp_path):
    code, out, error = run(Path(__file__).with_name("killed_run.py"), tmp_path)
    assert code == 0, out + error
    new, broken = out.splitlines()[-2:]
    assert int(new.removeprefix("new ")) > 30
    assert int(broken.removeprefix("broken ")) > 30


def test_the_config_is_first_and_each_file_is_on_disk_before_it_gets_its_name(
    tmp_path, monkeypatch
):
    """A power failure may drop what was not flushed: names only of files that were."""
    flushed, calls = set(), []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(file):
        flushed.add(os.readlink(f"/proc/self/fd/{file}"))
        fsync(file)

    def noted_replace(source, target):
        assert str(source) in flushed, f"{target} might be empty after a power failure"
        replace(source, target)
        flushed.clear()  # also the folder, whose names have changed
        calls.append(Path(target).name)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    directory, config = RunDirectory(tmp_path / "run"), small_config()
    directory.prepare(config, build_converter(config.converter), {"name": "x", "sizes": {}})
    assert calls == ["config.yaml", "converter.json", "environment.json"]
    assert str(directory.path) in flushed, "the last name might be lost"


def test_a_second_trainer_is_refused_with_the_process_that_trains(tmp_path):
    config, collection = small_config(), MadeUpCollection()
    directory = RunDirectory(tmp_path / "run")
    with directory.locked():
        with pytest.raises(UserError, match=f"in use: process {os.getpid()} trains") as error:
            trainer.train(config, directory.path, collection)
        assert "\n" not in str(error.value)
        directory.check(config)  # a directory with a lock alone may become a run
        with directory.locked(chief=False):  # another worker of the same run
            pass
    assert not directory.path.exists()
    with RunDirectory(tmp_path).locked():
        pass
    assert tmp_path.exists()  # an empty folder of the user's


def test_a_lock_alone_or_half_a_config_may_become_a_run(tmp_path):
    directory = RunDirectory(tmp_path)
    assert Lock(tmp_path / ".lock").acquire()
    (tmp_path / ".partial-config.yaml").write_text("name: ")
    directory.check(small_config())
    (tmp_path / ".partial-thesis.tex").touch()
    with pytest.raises(UserError, match="not a run directory"):
        directory.check(small_config())


def test_an_import_leaves_nothing_or_a_whole_run(tmp_path, monkeypatch):
    from magenta_lite.families.building import build_model
    from magenta_lite.training import run as runs

    config = small_config()
    converter = build_converter(config.converter)

    def write() -> Path:
        model = build_model(config, converter)
        return runs.write_imported_run(config, converter, model, 7, tmp_path / "run", "test")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "save_checkpoint", lambda *arguments, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write()
    assert not list(tmp_path.iterdir())
    assert write() == tmp_path / "run" / "checkpoints" / "step-00000007.keras"
    assert runs.load_run(tmp_path / "run").step == 7
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["starts"]
    with pytest.raises(UserError, match="exists already"):
        write()
