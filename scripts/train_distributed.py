"""Trains with several workers that share every batch.

On one machine this starts the workers, shows their output, and restarts them from the newest
checkpoint if one is killed:

    python scripts/train_distributed.py --num_workers=2 --config=cat-mel_2bar

In a cluster that sets TF_CONFIG it runs the worker of this machine (the run directory must be on a
shared file system; only the first worker writes it):

    python scripts/train_distributed.py --config=cat-mel_2bar --run_dir=/mnt/shared/run

All flags except those below are passed to `python -m magenta_lite.train`. train.batch_size is
divided among the workers. For several GPUs in one machine, `train --strategy=mirrored` is simpler.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

TRAIN = (sys.executable, "-m", "magenta_lite.train")
POLL = 0.2  # seconds
GRACE = 3.0  # seconds to wait for the others after one worker ended


def main(argv: list[str]) -> int:
    """Runs the workers; returns the exit code of `train`."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--num_workers", type=int, default=2, help="Workers on this machine.")
    parser.add_argument(
        "--max_restarts", type=int, default=10, help="How often killed workers start again."
    )
    args, train_flags = parser.parse_known_args(argv)
    if args.num_workers < 1:
        parser.error(f"--num_workers={args.num_workers} must be at least 1")
    command = [*TRAIN, "--strategy=multiworker", *train_flags]
    if os.environ.get("TF_CONFIG"):
        return subprocess.call(command)
    return watch(command, args.num_workers, args.max_restarts)


def watch(command: list[str], num_workers: int, max_restarts: int) -> int:
    """Runs `command` in every worker until all are done.

    If a signal ended a worker (killed, out of memory, crashed), the others cannot continue and all
    are restarted. If a worker fails with an exit code, a restart would fail again, so the run ends.

    Returns:
        0, or the exit code of the worker that failed first.
    """
    restarts = 0
    while True:
        workers = _start(command, num_workers)
        try:
            codes = _wait(workers)
        except BaseException:  # also Ctrl-C: no worker outlives this process
            _stop(workers)
            raise
        if all(code == 0 for code in codes):
            return 0
        killed = [i for i, code in enumerate(codes) if code is not None and code < 0]
        _stop(workers)
        if not killed:
            return next(code for code in codes if code)
        what = f"worker {killed[0]} was ended by {signal.Signals(-codes[killed[0]]).name}"
        if restarts == max_restarts:
            print(f"{what}; not started again after {restarts} restarts", flush=True)
            return 1
        restarts += 1
        print(f"{what}; all start again ({restarts} of {max_restarts})", flush=True)


def _start(command: list[str], num_workers: int) -> list[subprocess.Popen]:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(num_workers)]
    workers = []
    for index in range(num_workers):
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        worker = subprocess.Popen(
            command,
            env=os.environ | {"TF_CONFIG": json.dumps(config), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches only this process, which stops the workers
        )
        threading.Thread(target=_show, args=(index, worker), daemon=True).start()
        workers.append(worker)
    return workers


def _show(index: int, worker: subprocess.Popen) -> None:
    for line in worker.stdout:
        print(f"[worker {index}] {line}", end="", flush=True)


def _wait(workers: list[subprocess.Popen]) -> list[int | None]:
    """Returns the exit codes when all are done or one has failed (None for running workers)."""
    while True:
        codes = [worker.poll() for worker in workers]
        if any(codes):
            end = time.monotonic() + GRACE
            while time.monotonic() < end and not any(code and code < 0 for code in codes):
                time.sleep(POLL)
                codes = [worker.poll() for worker in workers]
            return codes
        if all(code == 0 for code in codes):
            return codes
        time.sleep(POLL)


def _stop(workers: list[subprocess.Popen]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
    for worker in workers:
        worker.wait()


def free_ports(count: int) -> list[int]:
    """Returns unused TCP ports of this machine."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _interrupted(number, frame) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGINT, _interrupted)
    sys.exit(main(sys.argv[1:]))
