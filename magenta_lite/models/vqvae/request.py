"""What may be asked of a VQ-VAE; no TensorFlow."""

from __future__ import annotations

from magenta_lite.errors import UserError

DRAWS = False


def modes(encoder) -> tuple[str, ...]:
    """Returns what a model can do."""
    del encoder
    return ("reconstruct",)


def options(encoder) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    del encoder
    return ()


def check(encoder, request) -> None:
    """Raises: UserError if there is no input."""
    del encoder
    if not request.inputs:
        raise UserError("--mode=reconstruct needs --input=FILE, a sound file")
