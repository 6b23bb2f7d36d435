"""Fuzzes the readers of checkpoints and WAD files, under limits of time and memory per input.

    python scripts/fuzz_binary_readers.py READER [--seconds=300] [--seed=0] [--found=FOLDER]
    python scripts/fuzz_binary_readers.py READER --atheris [--seconds=300]

Mutants of valid files are tried in processes of their own; most keep the checksums right, so that
what is behind them is reached. With --atheris (pip install atheris), libFuzzer chooses the mutants
by the coverage of the Python code. An input must be read, or be refused by an error for users; an
input that fails is written to FOLDER.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "checkpoints"))

SECONDS, MEGABYTES = 10, 512  # limits of one input
FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None  # in memory


def run(name: str, seed: int, seconds: float, found: Path) -> dict[str, int]:
    """Tries mutants one after the other in forks of this process, and returns counts of them.

    A fork that dies is replaced; the input that ended it is a failure.
    """
    import binary_mutants

    counts = {"tried": 0, "read": 0, "failed": 0}
    until, skip = time.monotonic() + seconds, 0
    found.mkdir(parents=True, exist_ok=True)
    while time.monotonic() < until:
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(readable)
            _try_in_fork(binary_mutants.READERS[name], seed, skip, until, writable)
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable, "rb") as answers:
            done = answers.read()
        _, status = os.waitpid(child, 0)
        counts["read"] += done.count(b"r")
        skip += len(done)
        counts["tried"] += len(done)
        if status:
            mutants = binary_mutants.mutants(binary_mutants.READERS[name], seed)
            mutant = next(itertools.islice(mutants, skip, None))
            (found / f"{name}-{seed}-{skip}").write_bytes(mutant)
            print(f"{name}: mutant {skip} ended the process with {status}", flush=True)
            counts["failed"] += 1
            counts["tried"] += 1
            skip += 1
    return counts


def _try_in_fork(reader: Any, seed: int, skip: int, until: float, answers: int) -> None:
    """Tries mutants until a failure, which ends the process; writes a letter for each other one."""
    import binary_mutants

    warnings.simplefilter("ignore")
    try:
        memory = binary_mutants.limited_memory(MEGABYTES)
        with memory, tempfile.TemporaryDirectory(dir=FAST) as folder:
            for number, mutant in enumerate(binary_mutants.mutants(reader, seed)):
                if number < skip:
                    continue
                if time.monotonic() > until:
                    return
                signal.alarm(SECONDS)
                read = binary_mutants.attempt(reader, mutant, Path(folder))
                signal.alarm(0)
                os.write(answers, b"r" if read else b"-")
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def fuzz(name: str, seconds: float, found: Path) -> None:
    """Tries inputs that libFuzzer chooses, until one fails."""
    import atheris

    packages = ["magenta_lite.checkpoints", "magenta_lite.data", "pickletools", "json", "zipfile"]
    with atheris.instrument_imports(include=packages):
        import binary_mutants

    reader = binary_mutants.READERS[name]
    corpus = found / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(reader.seeds()):
        (corpus / f"seed-{number}").write_bytes(content)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        if seed % 2:
            return atheris.Mutate(data, most)
        try:
            return reader.mutate(data, random.Random(seed))[:most]
        except Exception:  # an input that is no longer in the form of a file
            return atheris.Mutate(data, most)

    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        arguments = [
            f"-max_total_time={seconds:.0f}",
            f"-timeout={SECONDS}",
            f"-rss_limit_mb={4 * MEGABYTES}",
            f"-malloc_limit_mb={MEGABYTES}",
            f"-artifact_prefix={found}/{name}-",
            "-max_len=600000",
            "-print_final_stats=1",
        ]
        atheris.Setup(
            [sys.argv[0], *arguments, str(corpus)],
            lambda data: binary_mutants.attempt(reader, data, Path(folder)),
            custom_mutator=mutate,
        )
        atheris.Fuzz()


def main() -> int:
    """Returns 1 if a mutant failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", help="bundle, single, torch, magenta_js or wad.")
    parser.add_argument("--atheris", action="store_true", help="Let libFuzzer choose the mutants.")
    parser.add_argument("--seconds", type=float, default=300, help="For how long.")
    parser.add_argument("--seed", type=int, default=0, help="Of the mutants.")
    parser.add_argument("--found", type=Path, default=Path("found"), help="Folder of failures.")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments.found.mkdir(parents=True, exist_ok=True)
    found = arguments.found.resolve()
    if arguments.atheris:
        fuzz(arguments.reader, arguments.seconds, found)
    counts = run(arguments.reader, arguments.seed, arguments.seconds, found)
    print(arguments.reader, ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
