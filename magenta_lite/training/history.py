"""What the validations of a run say: which was best, and how many came since.

Everything follows from `metrics.jsonl` and the config, nothing from memory: a run that was ended
and started again knows what one knows that never was.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from magenta_lite.config import ExperimentConfig

PREFIX = "val_"  # of the numbers of a validation


@dataclasses.dataclass(frozen=True)
class Validation:
    """A validation.

    Attributes:
        step: Steps that were done.
        loss: What checkpoints are compared by; lower is better. See `comparable_loss`.
    """

    step: int
    loss: float


class History:
    """The validations of a run, oldest first.

    Args:
        config: Of the run; says what is compared.
        validations: Those that are known.
    """

    def __init__(self, config: ExperimentConfig, validations: list[Validation] | None = None):
        self._config = config
        self.validations = list(validations or [])

    @classmethod
    def read(cls, config: ExperimentConfig, metrics: Path, last_step: int | None = None) -> History:
        """Reads `metrics.jsonl`, which need not exist.

        Args:
            config: Of the run.
            metrics: The file.
            last_step: What comes after this step does not count; None: all does.
        """
        history = cls(config)
        lines = metrics.read_text("utf-8").splitlines() if metrics.is_file() else []
        for line in lines:
            try:
                values = json.loads(line)
            except json.JSONDecodeError:  # the last line of a killed run
                continue
            if last_step is None or values["step"] <= last_step:
                history.add(values["step"], values)
        return history

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds what was measured at a step, if a validation was among it."""
        loss = comparable_loss(self._config, values)
        if loss is not None:
            self.validations.append(Validation(step, loss))

    @property
    def best(self) -> Validation | None:
        """The best one, of equals the first; None if there is none with a finite loss."""
        return self.best_among([each.step for each in self.validations])

    def best_among(self, steps: Collection[int]) -> Validation | None:
        """Returns the best validation of these steps; None if there is none."""
        known = [v for v in self.validations if v.step in steps and math.isfinite(v.loss)]
        return min(known, key=lambda each: each.loss, default=None)

    @property
    def since_best(self) -> int:
        """How many validations came after the best one."""
        best = self.best
        return sum(each.step > best.step for each in self.validations) if best else 0

    def step_to_use(self, steps: Collection[int]) -> int | None:
        """Returns which checkpoint is to be used, of those of `steps`; None if there are none.

        That is the one whose validation was best. If that was the last validation, nothing speaks
        against a newer checkpoint that was not validated, such as one that a signal asked for.
        """
        best = self.best_among(steps)
        if best is None or best == self.validations[-1]:
            return max(steps, default=None)
        return best.step

    def out_of_patience(self, patience: int) -> bool:
        """Says whether so many validations in a row were not better than the best; 0: never."""
        return 0 < patience <= self.since_best

    def risen(self) -> str:
        """Says that validation was better before; nothing if it was not."""
        best = self.best
        if best is None or not self.since_best:
            return ""
        return f"validation was best at step {best.step:,} and has risen since"


def comparable_loss(config: ExperimentConfig, values: Mapping[str, Any]) -> float | None:
    """Returns the loss of a validation as it can be compared over the steps of a run.

    An objective whose loss changes its meaning from step to step, or has parts that say nothing
    about what comes out, has a `comparable_loss` of its own.

    Args:
        config: Of the run.
        values: A line of `metrics.jsonl`.

    Returns:
        None if there was no validation.
    """
    held_out = {
        name.removeprefix(PREFIX): value
        for name, value in values.items()
        if name.startswith(PREFIX)
    }
    if "loss" not in held_out:
        return None
    return float(config.objective.comparable_loss(held_out, config.train.steps))
