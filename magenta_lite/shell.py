"""Formats commands for a shell."""

from __future__ import annotations

import shlex


def command(verb: str, *arguments: str) -> str:
    """Returns a command of this package, quoted for a shell."""
    return " ".join([f"python -m magenta_lite.{verb}", *map(quoted, arguments)])


def quoted(argument: str) -> str:
    """Returns `name=value` with the value quoted for a shell."""
    name, equals, value = argument.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and value else shlex.quote(argument)
