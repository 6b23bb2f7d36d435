"""What may be asked of a prior over several codes a frame: as any prior, told nothing."""

from __future__ import annotations

from magenta_lite.families.jukebox.request import DRAWS, check, modes

__all__ = ["DRAWS", "check", "modes", "options"]


def options(converter) -> tuple[str, ...]:
    """Returns the fields of a `GenerateRequest` that mean something to a model."""
    del converter
    return ("total_seconds", "prompt_seconds", "top_k", "top_p", "min_p")
