"""Memory and CPU time that another file of a data set costs from `train` to its first step.

python scripts/benchmarks/make_large_folder.py songs --files=240
python scripts/benchmarks/first_step.py songs [--configs=music_transformer_tiny,...] [--files=60,240]

Each configuration is trained on the first files of the folder, in processes of their own: first
building the data set, and then again with what has been built. Memory is the proportional set size
(PSS) of the process and its children at the first step, which counts shared pages once; CPU time
is that of all of them until then. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from large_folders import family, pss
from speed import processor

CONFIGS = "cat-mel_2bar_tiny,attention_rnn_tiny,music_transformer_tiny,musenet_tiny"


class Measured(NamedTuple):
    """CPU time in seconds, memory in bytes."""

    cpu: float
    memory: int


def train(name: str, source: str, folder: Path) -> None:
    """Trains to the first step, prints what `Measured` has as JSON, and ends the process."""
    from magenta_lite import cli, train
    from magenta_lite.training.callbacks import WatchSteps

    def stop(*_) -> None:
        found = Measured(sum(os.times()[:4]), sum(map(pss, family(os.getpid()))))
        print(json.dumps(found), flush=True)
        os._exit(0)

    data, run_dir = f"--data={source}", tempfile.mkdtemp(dir=folder)
    options = [f"--data_dir={folder}", f"--run_dir={run_dir}", "--set=train.validation_examples=0"]
    sys.argv = [train.__file__, f"--config={name}", data, *options]
    with mock.patch.object(WatchSteps, "on_train_batch_end", stop):
        cli.run(train.main)


def measure(name: str, source: Path, folder: Path) -> Measured:
    """Returns the measurements of one training, whose data sets are in `folder`."""
    command = [sys.executable, __file__, source, "--child", name, "--data_dir", folder]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Measured(*json.loads(output.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder of music")
    parser.add_argument("--configs", default=CONFIGS)
    parser.add_argument("--files", default="60,240", help="two numbers of files")
    parser.add_argument("--data_dir", type=Path, help="where data sets are built and then removed")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        train(args.child, str(args.source), args.data_dir)
        return
    few, many = map(int, args.files.split(","))
    paths = sorted(path for path in args.source.rglob("*") if path.is_file())
    if len(paths) < many:
        raise SystemExit(f"{args.source} has {len(paths)} files; --files={args.files} needs {many}")
    print(f"{processor()}, load average {os.getloadavg()[0]:.1f}")
    print("| configuration | data set | memory, MB | CPU, s | kB a file | CPU a file, ms |")
    print("|---|---|---|---|---|---|")
    for name in args.configs.split(","):
        with tempfile.TemporaryDirectory(dir=args.data_dir) as temporary:
            found = []
            for count in (few, many):
                folder = Path(temporary, str(count))
                folder.mkdir()
                for path in paths[:count]:
                    os.symlink(path.resolve(), folder / path.name)
                found.append([measure(name, folder, Path(temporary)) for _ in range(2)])
        for when, first, last in zip(("built", "there"), *found, strict=True):
            memory, cpu = last.memory - first.memory, last.cpu - first.cpu
            print(
                f"| {name} | {when} | {first.memory / 2**20:,.0f} to {last.memory / 2**20:,.0f} | "
                f"{first.cpu:.0f} to {last.cpu:.0f} | {memory / 1000 / (many - few):,.0f} | "
                f"{1000 * cpu / (many - few):,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
