"""Compares the arrays of a checkpoint with the weights of a model, and assigns them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from magenta_lite.errors import UserError, first_line
from magenta_lite.files import printable

MAX_NAMES = 3  # in an error message
MAX_NAME = 80  # characters of a name
MAX_RATIO = 4  # numbers of a model, which may e.g. average some, for each of its checkpoint
SMALL_MODEL = 2**26


def some(names: Iterable[str]) -> str:
    """Returns the first names in alphabetical order, as text on one line."""
    names = sorted(names)
    more = len(names) - MAX_NAMES
    return ", ".join(printable(name)[:MAX_NAME] for name in names[:MAX_NAMES]) + (
        f" and {more} more" if more > 0 else ""
    )


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


def check_size(weights: int, state: Any) -> None:
    """Checks the number of weights of a model against that of a checkpoint.

    Raises:
        UserError: If the sizes that were read from arrays of a checkpoint are those of a model
            which is much larger than the checkpoint.
    """
    there = sum(math.prod(shape) for shape in state.shapes().values())
    if weights > MAX_RATIO * there + SMALL_MODEL:
        raise UserError(
            f"The checkpoint has {there:,} numbers and its shapes belong to a model of "
            f"{weights:,}: it is damaged, or belongs to another configuration"
        )


@contextlib.contextmanager
def fitting(path: str) -> Iterator[None]:
    """Turns errors by arrays of unexpected shapes or types into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} does not fit this configuration ({first_line(error)}); choose another "
            "--config, or download it again"
        ) from error
