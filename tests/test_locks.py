"""Locks between processes, and files and folders that are whole or not there."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from magenta_lite.errors import UserError
from magenta_lite.files import replaced
from magenta_lite.locks import Lock, locked, new_folder

HOLD = """
import sys, time
from pathlib import Path
from magenta_lite.locks import Lock
assert Lock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def enter(context) -> None:
    with context:
        raise AssertionError("this should be refused")


def test_a_lock_is_of_one_process_and_freed_by_its_sudden_end(tmp_path):
    path = tmp_path / "folder" / ".lock"
    path.parent.mkdir()
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"^{{x}} in use by process {process.pid}, so wait$"):
            enter(locked(path, "{x} in use by {holder}, so wait", "--output"))
        process.kill()
    assert path.exists()
    with locked(path, "", "--output"):
        assert path.read_text().split()[0] == str(os.getpid())
        path.write_text("123 another.host\n")
        assert Lock(path).holder() == "process 123 on another.host"
    assert not path.exists()


def test_who_waits_is_told_for_whom_and_gets_the_lock(tmp_path):
    path, order = tmp_path / ".lock", []

    def told(message):
        order.append(message)
        threading.Timer(0.1, lambda: (order.append("released"), first.release())).start()

    first = Lock(path)
    assert first.acquire()
    with locked(path, "Waiting for {holder}", "--data_dir", told) as lock:
        assert lock.held and not first.held
        assert path.read_text().split()[0] == str(os.getpid())
    assert order == [f"Waiting for process {os.getpid()}", "released"]


def test_where_nothing_can_be_locked_a_warning_says_so(tmp_path, monkeypatch, capsys):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / ".lock", "", "--run_dir") as lock:
        assert not lock.held
    assert "cannot be locked (No locks available)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_with_the_flag(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"file/x cannot be written \(.*\); choose another --output"
    ):
        enter(locked(tmp_path / "file" / "x" / ".lock", "", "--output"))


def test_a_new_folder_is_whole_or_not_there(tmp_path, monkeypatch):
    folder, partial = tmp_path / "new", tmp_path / ".partial-new"
    partial.mkdir()
    (partial / "left by a killed process").touch()
    with pytest.raises(ZeroDivisionError), new_folder(folder, "--output") as path:
        path.mkdir()
        (path / "a").write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())

    calls, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(file):
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{file}")))
        fsync(file)

    def noted_replace(source, target):
        calls.append(("replace", str(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    with new_folder(folder, "--output") as path:
        path.mkdir()
        (path / "a").write_text("whole")
        with pytest.raises(UserError, match=f"in use: process {os.getpid()} writes it"):
            enter(new_folder(folder, "--output"))
    assert calls == [
        ("fsync", f"{partial}/a"),
        ("fsync", str(partial)),
        ("replace", str(partial)),
        ("fsync", str(tmp_path)),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    with pytest.raises(UserError, match="exists already; remove it or choose another --output"):
        enter(new_folder(folder, "--output"))


def test_a_file_is_replaced_where_folders_cannot_be_flushed(tmp_path, monkeypatch):
    def fsync(file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    with replaced(tmp_path / "a") as partial:
        partial.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
