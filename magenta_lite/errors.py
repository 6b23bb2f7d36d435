"""What goes wrong because of what the user gave, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong input. The message is one line: the value, what is wrong with it, the next step.

    Command lines print the message without a traceback and exit with code 2.
    """


def unknown_name(what: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
    """Returns the error for `name` not being one of `known`, with the nearest names.

    Where none is near all are named, or `hint` says how to see them.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return UserError(f"Unknown {what} '{name}'. Did you mean {' or '.join(near)}?")
    return UserError(f"Unknown {what} '{name}'. {hint or 'Known: ' + ', '.join(known)}.")


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
