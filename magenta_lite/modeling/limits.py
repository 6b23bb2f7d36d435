"""The largest requests of generation; larger ones would take days or more than all memory.

No TensorFlow.
"""

from __future__ import annotations

import os
from typing import Any

from magenta_lite.errors import UserError

# By option, for every family that has it.
MOST: dict[str, float] = {
    "num_outputs": 10_000,
    "candidates": 1_000,
    "num_tokens": 1_000_000,
    "num_steps": 1_000_000,
    "new_steps": 1_000_000,
    "minutes": 15,
    "total_seconds": 3_600,
    "steps_per_chord": 10_000,
    "beam_size": 1_000,
    "branch_factor": 100,
    "steps_per_iteration": 1_000_000,
    "top_k": 1_000_000,
}
MOST_SEED = 2_000_000_000  # families add small numbers to seeds, which must stay below 2 ** 31
MOST_EVENTS = 20_000_000  # tokens or steps of all pieces of a call together
MOST_SECONDS = 3_600  # of sound, of all pieces of a call together


def check_range(name: str, value: Any, least: float | None, most: float | None) -> None:
    """Raises: UserError if the value of an option is out of its range; None is in every range."""
    if value is None:
        return
    shown = f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}"
    if least is not None and not value >= least:
        raise UserError(f"{shown} must be at least {least:,}; give that or more")
    if most is not None and not value <= most:
        raise UserError(f"{shown} must be at most {most:,}; give that or less")


def check_total(num_outputs: int, length: float, most: int, unit: str) -> None:
    """Raises: UserError if all pieces together have more than `most` events or seconds."""
    if length > most:
        raise UserError(
            f"--num_outputs={num_outputs} pieces of this length are {length:,.0f} {unit} together, "
            f"and the limit of a call is {most:,}; ask for fewer or shorter ones, in several calls"
        )


def check_memory(num_outputs: int, needed: float) -> None:
    """Raises: UserError if generation needs more bytes than this machine has."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UserError(
            f"--num_outputs={num_outputs} pieces of this length need {needed / 2**30:,.0f} GiB of "
            f"memory at once, and this machine has {there / 2**30:,.0f}; ask for at most "
            f"{int(num_outputs * there / needed)} at a time, or for shorter ones"
        )
