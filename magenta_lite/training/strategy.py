"""Distribution strategies: one device, all GPUs of a machine, or several machines."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from magenta_lite.errors import UserError, unknown_name

STRATEGIES = ("auto", "none", "mirrored", "multiworker")


def make_strategy(name: str = "auto") -> tf.distribute.Strategy | None:
    """Returns the strategy `name`; None for one device. Call it before any other TensorFlow code.

    Args:
        name: `none`; `mirrored`, one replica per GPU of this machine (per logical CPU without
            GPUs); `multiworker`, the workers in the environment variable TF_CONFIG; `auto`, chosen
            by TF_CONFIG and the number of GPUs.

    Raises:
        UserError: If there is no such strategy, or TF_CONFIG has no workers.
    """
    if name not in STRATEGIES:
        raise unknown_name("--strategy", name, STRATEGIES)
    gpus = tf.config.list_logical_devices("GPU") if name in ("auto", "mirrored") else []
    if name == "auto":
        name = "multiworker" if _workers() > 1 else "mirrored" if len(gpus) > 1 else "none"
    if name == "none":
        return None
    if name == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if not _workers():
        raise UserError(
            "--strategy=multiworker needs TF_CONFIG with a cluster of workers; "
            "scripts/train_distributed.py sets it for workers on this machine"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief() -> bool:
    """Returns whether this process is the one that writes the run directory."""
    config = _tf_config()
    task = config.get("task", {})
    if not _workers() or task.get("type") == "chief":
        return True
    return "chief" not in config["cluster"] and int(task.get("index", 0)) == 0


def describe_devices() -> str:
    """Returns the devices of this process as text: `CPU`, `1 GPU`, `2 GPUs`."""
    gpus = len(tf.config.list_logical_devices("GPU"))
    return f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "CPU"


def _workers() -> int:
    cluster = _tf_config().get("cluster", {})
    return len(cluster.get("worker", [])) + len(cluster.get("chief", []))


def _tf_config() -> dict:
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"TF_CONFIG is not JSON ({error}): {text[:60]}") from error


def wait_for_all(strategy: tf.distribute.Strategy | None) -> None:
    """Blocks until every worker has called this."""
    if strategy and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        here = strategy.run(lambda: tf.constant(1.0))
        strategy.reduce(tf.distribute.ReduceOp.SUM, here, axis=None)
