"""How many steps fit into a given time (`train --minutes`), and the config of such a run.

Values only, no TensorFlow: what is measured comes from `trial`.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from magenta_lite.config import ExperimentConfig, TrainConfig
from magenta_lite.errors import UserError

LEAST_STEPS = 20  # of a run that can learn anything
ENOUGH_STEPS = 2000  # a run with fewer learns more from more steps than from larger batches
LEAST_BATCH = 32
MOST_CHECKS = 20
SHARE_OF_CHECKS = 0.2  # of the time, at most, but for the last one
LEAST_RENEWALS = 4  # see `Costs.renewal`
ENDING = 2.0  # seconds in which a process ends


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a run take.

    Attributes:
        first_step: The first step, for which a graph is built.
        step: Another step.
        first_check: What the first check takes beyond the others.
        check: The end of an interval: validation, pictures, checkpoint.
        renewal: What a model does between steps now and then, see `MusicModel.renewed_every`.
        renewed_every: Steps between two of these; 0 if there are none.
    """

    first_step: float
    step: float
    first_check: float = 0.0
    check: float = 0.0
    renewal: float = 0.0
    renewed_every: int = 0


def batch_size_for(costs: Costs, seconds: float, settings: TrainConfig, replicas: int) -> int:
    """Returns the batch size, halved until a run makes enough steps or has a small batch.

    Args:
        costs: What was measured; the time of a step is taken to follow the batch size.
        seconds: That are left.
        settings: Of the run: its batch size, and in how many parts a replica works through it.
        replicas: That share a batch.
    """
    size, step = settings.batch_size, costs.step
    parts = replicas * settings.micro_batches
    while seconds < ENOUGH_STEPS * step and size >= 2 * LEAST_BATCH and size % (2 * parts) == 0:
        size, step = size // 2, step / 2
    return size


def plan(costs: Costs, seconds: float, minutes: float) -> tuple[int, int]:
    """Returns how many steps a run is to have, and after how many of them to check each time.

    Args:
        costs: What was measured.
        seconds: That are left.
        minutes: What the user asked for.

    Raises:
        UserError: If there is no time for a run.
    """
    left = seconds - costs.first_step - costs.first_check - ENDING
    checks = int(SHARE_OF_CHECKS * left / max(costs.check, 1e-3))
    checks = min(max(checks, 1), MOST_CHECKS)
    for_steps = left - checks * costs.check
    steps = (for_steps - LEAST_RENEWALS * costs.renewal) / costs.step
    if costs.renewed_every:  # as often as that, or, in a short run, oftener
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


def fitted(config: ExperimentConfig, steps: int, checkpoint_every: int) -> ExperimentConfig:
    """Returns the config of a run of so many steps, with schedules that fit into it.

    Warm-up and cosine follow from the number of steps by themselves (see `schedules`). An objective
    that changes over the steps says itself what becomes of it in a shorter run. The factor by
    which a learning rate decays stays: short runs learn most at a rate that stays high.
    """
    objective = config.objective
    if steps < config.train.steps:
        objective = objective.shortened(steps, config.train.steps)
    train = dataclasses.replace(config.train, steps=steps, checkpoint_every=checkpoint_every)
    return dataclasses.replace(config, objective=objective, train=train)


def continued(
    config: ExperimentConfig, there: ExperimentConfig, path: Path, keep_batch_size: bool = False
) -> ExperimentConfig:
    """Returns the config of a command with --minutes for a run that is under way.

    Its steps and batch size were fixed when it began; the same command goes on with them.

    Args:
        config: Of the command.
        there: Of the run.
        path: Of the run, to name it.
        keep_batch_size: The command says its batch size.

    Raises:
        UserError: If the run did not begin with the same number of minutes.
    """
    minutes = config.train.minutes
    if there.train.minutes != minutes:
        had = f"--minutes={there.train.minutes:g}" if there.train.minutes else "no --minutes"
        raise UserError(
            f"--minutes={minutes:g} is for a new run: {path} began with {had} and has "
            f"{there.train.steps:,} steps; choose another --run_dir, or go on with "
            f"--run_dir={path} --set train.steps=…"
        )
    batch_size = config.train.batch_size if keep_batch_size else there.train.batch_size
    config = with_batch_size(config, batch_size)
    return fitted(config, there.train.steps, there.train.checkpoint_every)
