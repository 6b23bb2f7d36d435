"""Chooses the precision of a run by measuring its first steps (`train.precision=auto`)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from magenta_lite.data.collections import Examples
from magenta_lite.families.building import build_model, count_weights
from magenta_lite.training.feed import Feed
from magenta_lite.training.optimizer import compile_model
from magenta_lite.training.trial import StepTimes

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig

LEAST_WEIGHTS = 500_000  # of a model that is measured; smaller ones would gain little
GAIN = 1.1  # ratio of the speeds from which the less precise one is chosen
STEPS = 3  # timed, after one that is traced
EXACT, FAST = "float32", "mixed_bfloat16"
FIRST_GPU = (8, 0)  # compute capability with bfloat16
CPU_FLAGS = {"amx_bf16", "avx512_bf16"}


def with_precision(
    config: ExperimentConfig,
    converter: Any,
    examples: Mapping[str, Examples],
    strategy: tf.distribute.Strategy | None,
    say: Callable[[str], Any],
) -> ExperimentConfig:
    """Returns a config with the precision that is faster here, if its own is `auto`.

    Small models, those of several workers, and those on devices without bfloat16 have float32.
    """
    if config.train.precision != "auto":
        return config
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if several or not has_bfloat16() or count_weights(config, converter) < LEAST_WEIGHTS:
        return _set(config, EXACT)
    exact, fast = (
        _seconds(_set(config, precision), converter, examples, strategy)
        for precision in (EXACT, FAST)
    )
    chosen = FAST if exact >= GAIN * fast else EXACT
    say(
        f"Precision: {chosen}; a step takes {exact:.2g} s in {EXACT} and {fast:.2g} s in {FAST} "
        "(--set train.precision=… chooses another)"
    )
    return _set(config, chosen)


def has_bfloat16() -> bool:
    """Returns whether the GPU, or without one the CPU, computes in bfloat16."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("compute_capability", (0, 0)) >= FIRST_GPU
    with contextlib.suppress(OSError):
        return not CPU_FLAGS.isdisjoint(Path("/proc/cpuinfo").read_text().split())
    return False


def _set(config: ExperimentConfig, precision: str) -> ExperimentConfig:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, precision=precision))


def _seconds(config, converter, examples, strategy) -> float:
    """Returns the time of a training step of a new model."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = build_model(config, converter, config.train.precision)
        compile_model(model, config.train)
    model.prepare(0, examples["train"], config.train.seed)
    feed = Feed.of(config, converter, model, examples, strategy, say=lambda line: None)
    timed = StepTimes()
    feed.fit(model, 0, 1, 1 + STEPS, [timed], validate=False)
    return (timed.times[-1] - timed.times[0]) / STEPS
