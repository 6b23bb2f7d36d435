"""Commands as they are typed."""

from __future__ import annotations

import shlex


def command(verb: str, *arguments: str) -> str:
    """Returns a command of this package, with quotes where a shell needs them."""
    return " ".join([f"python -m magenta_lite.{verb}", *map(quoted, arguments)])


def quoted(argument: str) -> str:
    """Returns `name=value` with quotes around the value where a shell needs them."""
    name, equals, value = argument.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and value else shlex.quote(argument)
