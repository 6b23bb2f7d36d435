"""What may be asked of a MuseNet; no TensorFlow."""

from __future__ import annotations

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.request import check_inputs

DRAWS = True
LONGEST = 15.0  # minutes


def modes(converter) -> tuple[str, ...]:
    """Returns what a model can do."""
    del converter
    return ("sample", "continue", "accompany")


def options(converter) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    del converter
    return (
        "num_tokens",
        "style",
        "instruments",
        "strict",
        "minutes",
        "guidance",
        "candidates",
        "rank",
        "primer_seconds",
        "top_k",
        "top_p",
        "min_p",
    )


def check(converter, request) -> None:
    """Raises: UserError if an input is missing, or a name or number does not fit."""
    known = {name for i in vocabulary.INSTRUMENTS for name in (i.name, i.family)}
    for name in request.instruments:
        if name not in known:
            raise unknown_name("instrument", name, known)
    converter.prefix(request.style, ())
    if request.strict and not request.instruments:
        raise UserError("--strict needs --instruments, e.g. --instruments=piano,bass,drums")
    if request.minutes and request.minutes > LONGEST:
        raise UserError(f"--minutes={request.minutes:g} must be at most {LONGEST:g}")
    if request.minutes and request.num_tokens:
        raise UserError("--minutes and --num_tokens both say how long; leave one out")
    check_inputs(request)
    if request.mode == "accompany" and not request.inputs:
        raise UserError("--mode=accompany needs --input=FILE, the music that others join")
    if request.mode == "accompany" and (request.minutes or request.num_tokens):
        raise UserError("--mode=accompany goes to the end of --input; leave out how long")
