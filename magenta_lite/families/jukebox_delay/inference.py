"""Such a prior's inference functions: those of any prior."""

from __future__ import annotations

from magenta_lite.families.jukebox.inference import (
    inference_functions,
    pictures,
    sampling_arguments,
)

__all__ = ["inference_functions", "pictures", "sampling_arguments"]
