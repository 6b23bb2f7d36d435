"""Errors caused by the user's input, with one-line messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong input. The message is one line: the value, the problem, and how to solve it.

    Commands print the message without a traceback and exit with code 2.
    """


class UnreadableError(ValueError):
    """A file or tune that cannot be used; the message is the reason."""


def unknown_name(what: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
    """Returns an error for a `name` that is not in `known`, with the most similar names.

    Without similar names, the message has `hint`, or all names.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return UserError(f"Unknown {what} {name!r:.100}. Did you mean {' or '.join(near)}?")
    return UserError(f"Unknown {what} {name!r:.100}. {hint or 'Known: ' + ', '.join(known)}.")


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or its type if there is no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
