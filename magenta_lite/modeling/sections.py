"""Base classes of the config sections of all families; no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self


class ModelSection:
    """The section `model` of a config: sizes. A subclass is a frozen dataclass.

    Attributes:
        kind: Its name in a saved config, the name of its family.
    """

    kind: ClassVar[str]

    @property
    def longest_crop(self) -> int | None:
        """Largest length of a training example in tokens; None for no limit."""
        return None

    @property
    def generate_flags(self) -> tuple[str, ...]:
        """Flags that `generate` requires for this model, in addition to those of its converter."""
        return ()


class Objective:
    """The section `objective` of a config: the loss. A subclass is a frozen dataclass.

    Attributes:
        kind: Its name in a saved config.
    """

    kind: ClassVar[str]

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
