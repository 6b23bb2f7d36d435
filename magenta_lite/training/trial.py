"""Measures the costs of a run on a few steps, which are then undone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.training.signals import Signals, Stopped
from magenta_lite.training.time_budget import Costs

MEASURED_SHARE = 0.05  # of the time until the deadline
MEASURED_SECONDS = 10.0  # upper limit
LEAST_MEASURED, MOST_MEASURED = 3, 300  # steps


class StepTimes(keras.callbacks.Callback):
    """Records when each step ends, and stops after a signal."""

    def __init__(self, signals: Signals | None = None):
        super().__init__()
        self.times: list[float] = []
        self._signals = signals

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        float(logs["loss"])  # waits for the device
        self.times.append(time.monotonic())
        if self._signals and self._signals.received:
            raise Stopped(self._signals.received, 0)


def measure(
    model: keras.Model,
    fit: Callable[[int, int, list], None],
    check: Callable[[Path], None],
    renew: Callable[[], None] | None,
    deadline: float,
    strategy: tf.distribute.Strategy | None,
    signals: Signals | None,
) -> tuple[Costs, float]:
    """Trains a few steps, measures them, and restores the model.

    Args:
        model: The model in its initial state.
        fit: Trains; called with the first step, the number of steps, and callbacks.
        check: Does the work at the end of an interval, in a temporary folder.
        renew: Does the model's periodic work; None if there is none.
        deadline: Planned end of the run by `time.monotonic()`; a small part of the time until then
            is used.
        strategy: The measurements are averaged over its workers.
        signals: The received signals; None if signals are not handled.

    Returns:
        The measured costs, and the remaining seconds.

    Raises:
        Stopped: If a signal was received.
    """
    initial = [(v, v.numpy()) for v in _state(model)]
    began = time.monotonic()
    timed = StepTimes(signals)
    fit(0, 2, [timed])
    wanted = min(MEASURED_SHARE * (deadline - began), MEASURED_SECONDS)
    wanted /= timed.times[1] - timed.times[0]
    first, wanted = _agreed(strategy, timed.times[0] - began, wanted)
    count = int(min(max(wanted, LEAST_MEASURED), MOST_MEASURED))
    timed = StepTimes(signals)
    fit(2, count, [timed])
    step = (timed.times[-1] - timed.times[0]) / (count - 1)
    checks = [_seconds_of(check) for _ in range(2)]
    renewals = [0.0, 0.0]
    if renew is not None:
        renewals = [_seconds_of(lambda _: renew()), _seconds_of(lambda _: renew())]
    for variable, value in initial:
        variable.assign(value)
    left = deadline - time.monotonic()
    step, first_check, check_again, first_renewal, renewal, left = _agreed(
        strategy, step, *checks, *renewals, left
    )
    costs = Costs(
        first_step=first,
        step=step,
        first_check=max(first_check - check_again, 0.0) + max(first_renewal - renewal, 0.0),
        check=check_again,
        renewal=renewal,
        renewed_every=model.renewed_every,
    )
    return costs, left


def _state(model: keras.Model) -> list:
    """Returns the variables of a compiled model and its optimiser, without those of metrics."""
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return own + model.optimizer.variables


def _seconds_of(what: Callable[[Path], None]) -> float:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        what(Path(folder))
    return time.monotonic() - began


def _agreed(strategy: tf.distribute.Strategy | None, *seconds: float) -> list[float]:
    """Returns the means of the measurements of all workers."""
    if strategy is None or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return list(seconds)
    here = strategy.run(lambda: tf.constant(seconds))
    return strategy.reduce(tf.distribute.ReduceOp.MEAN, here, axis=None).numpy().tolist()
