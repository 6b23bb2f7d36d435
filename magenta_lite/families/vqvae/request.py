"""What may be asked of a VQ-VAE; no TensorFlow."""

from __future__ import annotations

from magenta_lite.errors import UserError

DRAWS = False


def modes(converter) -> tuple[str, ...]:
    """Returns what a model can do."""
    del converter
    return ("reconstruct",)


def options(converter) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    del converter
    return ()


def check(converter, request) -> None:
    """Raises: UserError if there is no input."""
    del converter
    if not request.inputs:
        raise UserError("--mode=reconstruct needs --input=FILE, a sound file")
