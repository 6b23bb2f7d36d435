"""The validations of a run: which was the best, and how many came since.

Everything is derived from `metrics.jsonl` and the config, so that a resumed run has the same
history as an uninterrupted one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from magenta_lite.config import ExperimentConfig
from magenta_lite.errors import UserError

PREFIX = "val_"  # of the names of validation metrics


class Validation(NamedTuple):
    """A step, and its loss by which checkpoints are compared; see `comparable_loss`."""

    step: int
    loss: float


class History:
    """The validations of a run, oldest first."""

    def __init__(self, config: ExperimentConfig, validations: list[Validation] | None = None):
        self._config = config
        self.validations = list(validations or [])

    @classmethod
    def read(cls, config: ExperimentConfig, metrics: Path, last_step: int | None = None) -> History:
        """Reads `metrics.jsonl`, which need not exist, until `last_step` (None: until its end)."""
        history = cls(config)
        for number, (_, values) in enumerate(lines_of(metrics), start=1):
            if last_step is None or values["step"] <= last_step:
                try:
                    history.add(values["step"], values)
                except (LookupError, TypeError, ValueError) as error:
                    raise _wrong(metrics, number) from error
        return history

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds the metrics of a step, if they include a validation."""
        loss = comparable_loss(self._config, values)
        if loss is not None:
            self.validations.append(Validation(step, loss))

    @property
    def best(self) -> Validation | None:
        """The best validation, the first one of equals; None if none has a finite loss."""
        return self.best_among([each.step for each in self.validations])

    def best_among(self, steps: Collection[int]) -> Validation | None:
        """Returns the best validation among these steps; None if there is none."""
        known = [v for v in self.validations if v.step in steps and math.isfinite(v.loss)]
        return min(known, key=lambda each: each.loss, default=None)

    @property
    def since_best(self) -> int:
        """Number of validations after the best one."""
        best = self.best
        return sum(each.step > best.step for each in self.validations) if best else 0

    def step_to_use(self, steps: Collection[int]) -> int | None:
        """Returns the step of the checkpoint to use, among `steps`; None if there are none.

        This is the step of the best validation. If that was the last validation, it is the newest
        step, which may be later, e.g. of a checkpoint that was saved after a signal.
        """
        best = self.best_among(steps)
        if best is None or best == self.validations[-1]:
            return max(steps, default=None)
        return best.step

    def out_of_patience(self, patience: int) -> bool:
        """Returns whether the last `patience` validations brought no improvement; 0 for never."""
        return 0 < patience <= self.since_best

    def risen(self) -> str:
        """Returns a message if an earlier validation was better than the last one, or ""."""
        best = self.best
        if best is None or not self.since_best:
            return ""
        return f"validation was best at step {best.step:,} and has risen since"


def lines_of(metrics: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the lines of a `metrics.jsonl`, which need not exist, and their values.

    Raises:
        UserError: If a line is not that of a step.
    """
    if not metrics.is_file():
        return
    for number, line in enumerate(metrics.read_text("utf-8", "replace").splitlines(), start=1):
        try:
            values = json.loads(line)
        except json.JSONDecodeError:  # the last line of a killed run
            continue
        except (RecursionError, ValueError) as error:  # nested deeply, or a number of 5,000 digits
            raise _wrong(metrics, number) from error
        if not isinstance(values, dict) or type(values.get("step")) not in (int, float):
            raise _wrong(metrics, number)
        yield line, values


def _wrong(metrics: Path, number: int) -> UserError:
    return UserError(f"{metrics}, line {number}: not the metrics of a step; remove this line")


def comparable_loss(config: ExperimentConfig, values: Mapping[str, Any]) -> float | None:
    """Returns the loss of a validation in a form that is comparable over the steps of a run.

    Objectives override `comparable_loss` if their loss is annealed, or has auxiliary terms that do
    not measure the quality of the output. None for a line of `metrics.jsonl` without validation.
    """
    held_out = validation_of(values)
    if "loss" not in held_out:
        return None
    return float(config.objective.comparable_loss(held_out, config.train.steps))


def validation_of(values: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics of the validation among the metrics of a step."""
    held_out = (name for name in values if name.startswith(PREFIX))
    return {name.removeprefix(PREFIX): values[name] for name in held_out}
