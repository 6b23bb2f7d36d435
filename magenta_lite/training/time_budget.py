"""Plans a run for a time budget (`train --minutes`).

Imports no TensorFlow; the costs are measured by `trial`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from pathlib import Path

from magenta_lite.config import ExperimentConfig, TrainConfig, resumed, scaled
from magenta_lite.errors import UserError

LEAST_STEPS = 20  # of a run
ENOUGH_STEPS = 2000  # below this, more steps are worth more than larger batches
LEAST_BATCH = 32
MOST_CHECKS = 20
SHARE_OF_CHECKS = 0.2  # largest share of the time, the last check aside
LEAST_RENEWALS = 4  # see `Costs.renewal`
ENDING = 2.0  # seconds for the exit of the process


@dataclasses.dataclass(frozen=True)
class Costs:
    """Durations of the parts of a run in seconds.

    Attributes:
        first_step: The first step, including the tracing of its graph.
        step: Any other step.
        first_check: Extra time of the first check.
        check: The end of an interval: validation, images and checkpoint.
        renewal: The model's periodic work between steps; see `MusicModel.renewed_every`.
        renewed_every: Steps between two renewals; 0 for none.
    """

    first_step: float
    step: float
    first_check: float = 0.0
    check: float = 0.0
    renewal: float = 0.0
    renewed_every: int = 0


def batch_size_for(costs: Costs, seconds: float, settings: TrainConfig, replicas: int) -> int:
    """Returns the batch size, halved until enough steps fit into the time or it is small.

    The time of a step is assumed to be proportional to the batch size.
    """
    size, step = settings.batch_size, costs.step
    parts = replicas * settings.micro_batches
    while seconds < ENOUGH_STEPS * step and size >= 2 * LEAST_BATCH and size % (2 * parts) == 0:
        size, step = size // 2, step / 2
    return size


def plan(costs: Costs, seconds: float, minutes: float) -> tuple[int, int]:
    """Returns the number of steps of a run of `seconds`, and the number of steps between checks.

    Raises:
        UserError: If the time is too short for a run.
    """
    left = seconds - costs.first_step - costs.first_check - ENDING
    checks = int(SHARE_OF_CHECKS * left / max(costs.check, 1e-3))
    checks = min(max(checks, 1), MOST_CHECKS)
    for_steps = left - checks * costs.check
    steps = (for_steps - LEAST_RENEWALS * costs.renewal) / costs.step
    if costs.renewed_every:  # a long run has more renewals than the minimum
        steady = for_steps / (costs.step + costs.renewal / costs.renewed_every)
        steps = min(steps, steady)
    if steps < LEAST_STEPS:
        missing = (LEAST_STEPS - steps) * costs.step / (1 - SHARE_OF_CHECKS)
        needed = math.ceil(minutes + missing / 60)
        raise UserError(
            f"--minutes={minutes:g} leaves {max(left, 0):.0f} s for steps of {costs.step:.2g} s "
            f"and a validation of {costs.check:.2g} s: too little for a run; try "
            f"--minutes={needed}, or a smaller config"
        )
    steps = int(steps)
    return steps, math.ceil(steps / checks)


def with_batch_size(config: ExperimentConfig, batch_size: int) -> ExperimentConfig:
    """Returns the config with another batch size."""
    return dataclasses.replace(
        config, train=dataclasses.replace(config.train, batch_size=batch_size)
    )


def fitted(
    config: ExperimentConfig, steps: int, checkpoint_every: int, given: Collection[str] = ()
) -> ExperimentConfig:
    """Returns the config with another number of steps, and schedules adapted to it.

    Warm-up and cosine depend on the number of steps anyway (see `schedules`), the schedules of the
    objective are scaled, unless the user sets them (`given`, see `scaled`).
    """
    config = scaled(config, steps, config.train.steps, given)
    train = dataclasses.replace(config.train, steps=steps, checkpoint_every=checkpoint_every)
    return dataclasses.replace(config, train=train)


def continued(
    config: ExperimentConfig, there: ExperimentConfig, path: Path, given: Collection[str] = ()
) -> ExperimentConfig:
    """Returns the config of a command with --minutes that resumes the run of config `there`.

    The steps and the batch size are those that were chosen at the start of the run, unless the
    command sets the batch size (`given`). Errors name the run directory `path`.

    Raises:
        UserError: If the run was started with another number of minutes.
    """
    minutes = config.train.minutes
    if there.train.minutes != minutes:
        had = f"--minutes={there.train.minutes:g}" if there.train.minutes else "no --minutes"
        raise UserError(
            f"--minutes={minutes:g} is for a new run: {path} began with {had} and has "
            f"{there.train.steps:,} steps; choose another --run_dir, or continue with "
            f"--run_dir={path} --set train.steps=…"
        )
    config = resumed(config, there, given)
    if "train.batch_size" not in given:
        config = with_batch_size(config, there.train.batch_size)
    names = ("steps", "checkpoint_every")
    train = dataclasses.replace(config.train, **{n: getattr(there.train, n) for n in names})
    return dataclasses.replace(config, train=train)
