"""What may be asked of a prior; no TensorFlow."""

from __future__ import annotations

from magenta_lite.errors import UserError
from magenta_lite.request import check_inputs

DRAWS = True


def modes(converter) -> tuple[str, ...]:
    """Returns what a model can do."""
    del converter
    return ("sample", "continue")


def options(converter) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    del converter
    return (
        "total_seconds",
        "prompt_seconds",
        "artist",
        "genre",
        "lyrics",
        "upsamplers",
        "temperatures",
        "top_k",
        "top_p",
        "min_p",
    )


def check(converter, request) -> None:
    """Raises: UserError if there are too few inputs or too many, or a temperature is no number."""
    check_inputs(request)
    if len(request.inputs) > 1:
        raise UserError(f"{len(request.inputs)} --input files: a piece goes on from one sound")
    if not converter.config.vqvae:
        raise UserError(
            "This run does not say which VQ-VAE its codes are of; import it again with --vqvae"
        )
    temperature_of(request, 0)


def temperature_of(request, place: int) -> float:
    """Returns the temperature of a level, 0 the top one.

    Raises:
        UserError: If one of those that are given is no number.
    """
    if not request.temperatures:
        return request.temperature
    try:
        temperatures = [float(text) for text in request.temperatures]
    except ValueError as error:
        given = ",".join(request.temperatures)
        raise UserError(f"--temperatures={given} must be numbers, top level first") from error
    return temperatures[min(place, len(temperatures) - 1)]
