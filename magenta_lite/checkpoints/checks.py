"""Compares the arrays of a checkpoint with the weights of a model, and assigns them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from magenta_lite.errors import UserError
from magenta_lite.files import printable

MAX_NAMES = 3  # in an error message
MAX_NAME = 80  # characters of a name


def some(names: Iterable[str]) -> str:
    """Returns the first names in alphabetical order, as text on one line."""
    names = sorted(names)
    more = len(names) - MAX_NAMES
    return ", ".join(printable(name)[:MAX_NAME] for name in names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def check_names(found: Collection[str], wanted: Collection[str]) -> None:
    """Raises: UserError if weights are missing from a checkpoint, or the model lacks some."""
    for names, problem in (
        (set(wanted) - set(found), "has no"),
        (set(found) - set(wanted), "has what this configuration has no place for:"),
    ):
        if names:
            raise UserError(
                f"The checkpoint {problem} {some(names)}: it belongs to another configuration"
            )


def check_shape(name: str, found: Sequence[int], wanted: Sequence[int]) -> None:
    """Raises: UserError if an array of a checkpoint has not the wanted shape."""
    if tuple(found) != tuple(wanted):
        raise UserError(
            f"{name} has shape {list(found)} where this configuration needs {list(wanted)}: "
            "the checkpoint belongs to another one"
        )


def assign(variable: Any, value: np.ndarray, name: str) -> None:
    """Assigns an array to a Keras variable. Raises: UserError if the shapes differ."""
    check_shape(name, value.shape, variable.shape)
    variable.assign(value)


def count(state: Mapping[str, Any], name: str, first: int = 0) -> int:
    """Returns the number of arrays whose names contain consecutive numbers from `first` on."""
    number = first
    while name.format(number) in state:
        number += 1
    return number - first
