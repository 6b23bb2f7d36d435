"""Memory and CPU time that another file of a data set costs from `train` to its first step.

python scripts/benchmarks/make_large_folder.py songs --files=240
python scripts/benchmarks/first_step.py songs [--configs=musenet_tiny,...] [--files=60,240]

Each configuration is trained on the first files of the folder, in processes of their own: first
with the building of the data set, and then again with what has been built. CPU time and memory are
those of the process and its children. Memory is the proportional set size (PSS) at the first step
of the process's own pages and of the data set's mapped files, which the system can drop at any
time; libraries, which several processes share, are left out. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from large_folders import family
from speed import processor

CONFIGS = "cat-mel_2bar_tiny,attention_rnn_tiny,music_transformer_tiny,musenet_tiny"


class Measured(NamedTuple):
    """CPU time in seconds, and the process's own and mapped memory in kB."""

    cpu: float
    own: float
    mapped: float


def train(name: str, source: str, folder: Path) -> None:
    """Trains to the first step, prints what `Measured` has as JSON, and ends the process."""
    from magenta_lite import cli, train
    from magenta_lite.training.callbacks import WatchSteps

    def stop(*_) -> None:
        pages = [page for pid in family(os.getpid()) for page in mappings(pid)]
        own = sum(size for path, size in pages if not path.startswith("/"))
        mapped = sum(size for path, size in pages if path.startswith(f"{folder.resolve()}/"))
        print(json.dumps(Measured(sum(os.times()[:4]), own, mapped)), flush=True)
        os._exit(0)

    data, run_dir = f"--data={source}", tempfile.mkdtemp(dir=folder)
    options = [f"--data_dir={folder}", f"--run_dir={run_dir}", "--set=train.validation_examples=0"]
    sys.argv = [train.__file__, f"--config={name}", data, *options]
    with mock.patch.object(WatchSteps, "on_train_batch_end", stop):
        cli.run(train.main)


def mappings(pid: int) -> Iterator[tuple[str, float]]:
    """Yields the file, "" or a name in brackets, and the PSS in kB of each mapping of a process."""
    with contextlib.suppress(OSError):  # it has ended
        path = ""
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            first, *fields = line.split()
            if not first.endswith(":"):
                path = " ".join(fields[4:])
            elif first == "Pss:":
                yield path, 1.024 * int(fields[0])


def measure(name: str, source: Path, folder: Path) -> Measured:
    """Returns the measurements of one training, whose data sets are in `folder`."""
    command = [sys.executable, __file__, source, "--child", name, "--data_dir", folder]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Measured(*json.loads(output.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder of music or of sound")
    parser.add_argument("--configs", default=CONFIGS)
    parser.add_argument("--files", default="60,240", help="two numbers of files")
    parser.add_argument("--data_dir", type=Path, help="where data sets are built and then removed")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        train(args.child, str(args.source), args.data_dir)
        return
    few, many = map(int, args.files.split(","))
    paths = sorted(path.resolve() for path in args.source.rglob("*") if path.is_file())
    if len(paths) < many:
        raise SystemExit(f"{args.source} has {len(paths)} files; --files={args.files} needs {many}")
    print(f"{processor()}, load average {os.getloadavg()[0]:.1f}")
    print(
        f"| configuration | data set | CPU, s ({few} and {many} files) | own memory, MB | "
        "CPU a file, ms | own memory a file, kB | mapped memory a file, kB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in args.configs.split(","):
        found = []
        with tempfile.TemporaryDirectory(dir=args.data_dir) as folder:
            for count in (few, many):
                source = Path(folder, f"{count} files")
                source.mkdir()
                for path in paths[:count]:
                    os.symlink(path, source / path.name)
                found.append([measure(name, source, Path(folder)) for _ in range(2)])
        for when, a, b in zip(("to build", "built"), *found, strict=True):
            cpu, own, mapped = ((y - x) / (many - few) for x, y in zip(a, b, strict=True))
            print(
                f"| {name} | {when} | {a.cpu:.1f}, {b.cpu:.1f} | {a.own / 1000:,.0f}, "
                f"{b.own / 1000:,.0f} | {1000 * cpu:,.0f} | {own:,.0f} | {mapped:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
