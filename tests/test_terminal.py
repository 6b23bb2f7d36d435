"""What a shell sees of the commands: pipes without readers, closed streams, notes of libraries."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bad_files import write_good_files

from magenta_lite import cli

ROOT = Path(__file__).parents[1]
NOTE = re.compile(r"[IWEF]\d{4} |WARNING|Warning|absl|retrac|OUT_OF_RANGE|Exception ignored")


def shell(line: str, cwd: Path) -> tuple[list[int], str, str]:
    """Runs a pipeline; returns the exit codes of its commands, output and errors."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    environment.pop("TF_CPP_MIN_LOG_LEVEL")  # as of a user
    done = subprocess.run(
        ["bash", "-c", f'{line}\necho "${{PIPESTATUS[@]}}" >&2'],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    *errors, codes = done.stderr.splitlines()
    return [int(code) for code in codes.split()], done.stdout, "\n".join(errors)


TRAIN = (
    "$PYTHON -m magenta_lite.train --config=lookback_rnn_tiny --data=music --data_dir=data "
    "--set model.units=[16] --set train.batch_size=8 --set train.steps=4 "
    "--set train.checkpoint_every=2 --set train.validation_examples=2"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with music."""
    place = tmp_path_factory.mktemp("user")
    write_good_files(place / "music", 12)
    return place


def test_training_goes_on_when_nobody_reads_what_it_says_and_other_commands_end(place):
    codes, out, errors = shell(f"{TRAIN} --run_dir=run | head -1", place)
    assert codes == [0, 0], errors
    assert len(out.splitlines()) == 1
    names = sorted(path.name for path in (place / "run" / "checkpoints").iterdir())
    assert names == ["step-00000002.keras", "step-00000004.keras"]
    assert not NOTE.search(errors), errors

    line = "$PYTHON -m magenta_lite.generate --run_dir=run --num_steps=16 --num_outputs=8 | true"
    codes, _, errors = shell(line, place)
    assert codes == [0, 0], errors
    assert not NOTE.search(errors), errors


@pytest.mark.parametrize("command", ["train", "generate", "inspect_data"])
def test_help_that_is_not_read_to_its_end_is_no_error(command, tmp_path):
    codes, _, errors = shell(f"$PYTHON -m magenta_lite.{command} --help | true", tmp_path)
    assert codes == [0, 0]
    assert not errors


def test_training_does_without_standard_streams(place):
    codes, out, _ = shell(f"{TRAIN} --run_dir=quiet --set train.steps=2 >&- 2>&- <&-", place)
    assert codes == [0]
    assert not out
    assert [path.name for path in (place / "quiet" / "checkpoints").iterdir()]


def test_commands_import_tensorflow_without_what_only_notebooks_use():
    program = (
        "import sys\n"
        "from magenta_lite.tensorflow_loading import load_tensorflow\n"
        "load_tensorflow()\n"
        "assert not {'sklearn', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "import matplotlib.pyplot, sklearn\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_stream_that_nobody_reads_goes_on_to_nowhere():
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w") as stream:
        outliving = cli.OutlivingStream(stream)
        print("read", file=outliving, flush=True)
        assert os.read(ours, 100) == b"read\n"
        os.close(ours)
        for _ in range(3):
            print("not read", file=outliving, flush=True)
        assert not outliving.isatty()


def test_a_full_disk_is_said_in_one_line_with_the_folders(capsys, monkeypatch):
    monkeypatch.setattr(cli, "FOLDERS", ("log_dir",))  # a flag that is always defined
    monkeypatch.setattr(cli.FLAGS["log_dir"], "value", "runs/a")

    def fill():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a/step.keras")

    assert cli._call(fill, ["x"]) == 1
    message = "No space left on the disk (--log_dir=runs/a): [Errno 28] No space left on device"
    assert capsys.readouterr().err.startswith(f"Error: {message}: 'runs/a/step.keras'; make room")
