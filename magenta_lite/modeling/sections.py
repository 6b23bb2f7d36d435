"""Base classes of the config sections of all families; no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

from magenta_lite.errors import UserError, unknown_name


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

    def check_rates(self, *names: str) -> None:
        """Raises: UserError if a field in `names` is not in [0, 1)."""
        for name in names:
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UserError(f"{self.section}.{name}={value} must lie in [0, 1)")

    def check_choice(self, name: str, known: Iterable[str]) -> None:
        """Raises: UserError if the field `name` has none of the values `known`."""
        if getattr(self, name) not in known:
            raise unknown_name(f"{self.section}.{name}", getattr(self, name), known)


class ModelSection(_Section):
    """The section `model` of a config: sizes. Its `kind` is the name of its family."""

    section = "model"

    def make_tuples(self, *names: str) -> None:
        """Converts the values of the fields `names`, which are lists in a file, to tuples."""
        for name in names:
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def check_units(self, *names: str) -> None:
        """Raises: UserError if a field in `names` is not at least one layer of one unit."""
        for name in names:
            units = getattr(self, name)
            if not units or min(units) < 1:
                raise UserError(f"model.{name}={list(units)} needs at least one layer of 1 unit")

    def check_heads(self, heads: int, *names: str) -> None:
        """Raises: UserError if `model.heads` does not divide a width in `names`."""
        for name in names:
            if getattr(self, name) % heads:
                raise UserError(
                    f"model.{name}={getattr(self, name)} cannot be shared out among "
                    f"model.heads={heads} heads"
                )

    @property
    def longest_crop(self) -> int | None:
        """Largest length of a training example in tokens; None for no limit."""
        return None

    @property
    def generate_flags(self) -> tuple[str, ...]:
        """Flags that `generate` requires for this model, in addition to those of its converter."""
        return ()


class Objective(_Section):
    """The section `objective` of a config: the loss.

    Attributes:
        scheduled: Fields that define schedules, which `shortened` rescales.
    """

    section = "objective"
    scheduled: ClassVar[tuple[str, ...]] = ()

    def shortened(self, steps: int, planned: int) -> Self:
        """Returns the objective with its schedules rescaled to a shorter run.

        Args:
            steps: Number of steps of the run.
            planned: Number of steps that this objective is meant for.
        """
        del steps, planned
        return self

    def continuing(self, source: Self, step: int) -> Self:
        """Returns the objective of a fine-tuning run.

        Args:
            source: The objective of the run whose weights are fine-tuned.
            step: The step of these weights.
        """
        del source, step
        return self

    def schedules_in_words(self, steps: int) -> str:
        """Returns a description of the schedules of a run of `steps` steps; "" for none."""
        del steps
        return ""

    def comparable_loss(self, measured: Mapping[str, float], steps: int) -> float:
        """Returns a validation loss that is comparable between the steps of a run.

        Args:
            measured: Means over the held-out examples, by the names of metrics.
            steps: Number of steps of the whole run.
        """
        del steps
        return measured["loss"]
