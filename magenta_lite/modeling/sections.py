"""What the sections of all families have in common; no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self


class ModelSection:
    """The section `model` of a config: sizes. A subclass is a frozen dataclass.

    Attributes:
        kind: What a saved config calls it, the name of its family.
    """

    kind: ClassVar[str]

    @property
    def longest_crop(self) -> int | None:
        """Most tokens of a training example; None for any number."""
        return None


class Objective:
    """The section `objective` of a config: what is minimised. A subclass is a frozen dataclass.

    Attributes:
        kind: What a saved config calls it.
    """

    kind: ClassVar[str]

    def shortened(self, steps: int, planned: int) -> Self:
        """Returns the objective of a shorter run, whose schedules fit into it.

        Args:
            steps: Number of steps of the run.
            planned: Number of steps that this objective is meant for.
        """
        del steps, planned
        return self

    def comparable_loss(self, measured: Mapping[str, float], steps: int) -> float:
        """Returns the loss of a validation as it can be compared over the steps of a run.

        Args:
            measured: Means over the held-out examples, by name.
            steps: Number of steps of the whole run.
        """
        del steps
        return measured["loss"]
