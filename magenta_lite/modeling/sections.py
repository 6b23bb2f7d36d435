"""Base classes of the config sections of all families; no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from magenta_lite.errors import UserError


class _Section:
    """A section of a config. A subclass is a frozen dataclass.

    Attributes:
        section: Name of the section.
        kind: Name of the subclass in a saved config.
    """

    section: ClassVar[str]
    kind: ClassVar[str]

    def check_at_least(self, lowest: float, *names: str) -> None:
        """Raises: UserError if a field in `names` is below `lowest`."""
        for name in names:
            value = getattr(self, name)
            if not value >= lowest:
                raise UserError(f"{self.section}.{name}={value} must be at least {lowest}")


class ModelSection(_Section):
    """The section `model` of a config: sizes. Its `kind` is the name of its family."""

    section = "model"

    @property
    def longest_crop(self) -> int | None:
        """Largest length of a training example in tokens; None for no limit."""
        return None

    @property
    def generate_flags(self) -> tuple[str, ...]:
        """Flags that `generate` requires for this model, in addition to those of its converter."""
        return ()


class Objective(_Section):
    """The section `objective` of a config: the loss."""

    section = "objective"

    def shortened(self, steps: int, planned: int) -> Self:
        """Returns the objective with its schedules rescaled to a shorter run.

        Args:
            steps: Number of steps of the run.
            planned: Number of steps that this objective is meant for.
        """
        del steps, planned
        return self

    def comparable_loss(self, measured: Mapping[str, float], steps: int) -> float:
        """Returns a validation loss that is comparable between the steps of a run.

        Args:
            measured: Means over the held-out examples, by name.
            steps: Number of steps of the whole run.
        """
        del steps
        return measured["loss"]
