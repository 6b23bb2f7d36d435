"""Trains cat-mel_2bar_tiny, made smaller, on made-up melodies; run by the tests as a program.

python small_run.py RUN_DIR [--cpus=1] [--strategy=none] [section.key=value ...]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from magenta_lite.modeling.examples import Examples

SMALL = (
    "model.latent_size=8",
    "model.encoder_units=[16]",
    "model.decoder_units=[16,16]",
    "train.batch_size=32",
    "train.steps=24",
    "train.checkpoint_every=8",
    "train.validation_examples=40",
    # Else a run of fewer steps would go another way.
    "train.schedule=decay",
    # Else the decoder would be compiled, too.
    "objective.sampling_schedule=constant",
    "objective.sampling_rate=0",
    "train.scale_schedules=false",  # a run that goes on is then that of all its steps
)


class MadeUpCollection:
    """Random melodies in place of a built data set."""

    name = "made up"

    def __init__(self, train: int = 100, validation: int = 40):
        self.sizes = {"train": train, "validation": validation, "test": 0}

    def split(self, name: str):
        size = self.sizes[name]
        events = np.random.default_rng(size).integers(0, 92, (size, 32)).astype(np.uint8)
        events[events > 89] = 0
        return Examples(events, np.full(size, 32, np.int32), None)


def small_config(*overrides: str):
    from magenta_lite.config import get_config

    return get_config("cat-mel_2bar_tiny", (*SMALL, *overrides))


def kill_once(mark: Path, checkpoints: Path) -> None:
    """Kills this process after the first checkpoint, unless `mark` says that it has happened."""

    def wait():
        while not list(checkpoints.glob("step-*.keras")):
            time.sleep(0.02)
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    if not mark.exists():
        threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--strategy", default="none")
    parser.add_argument("--kill_worker_1", type=Path, help="Once: touches this file and dies.")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    if args.kill_worker_1 and json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
        kill_once(args.kill_worker_1, args.run_dir / "checkpoints")

    import tensorflow as tf

    if args.cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * args.cpus
        tf.config.set_logical_device_configuration(cpu, parts)
    from magenta_lite.training.signals import Stopped
    from magenta_lite.training.strategy import make_strategy
    from magenta_lite.training.trainer import train

    strategy = make_strategy(args.strategy)
    try:
        train(small_config(*args.overrides), args.run_dir, MadeUpCollection(), strategy)
    except Stopped as stopped:
        return 128 + stopped.signum
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.exit(main())
