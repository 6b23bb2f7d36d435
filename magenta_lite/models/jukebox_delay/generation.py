"""What `generate` does with a prior over several codes a frame: as with any prior, told nothing."""

from __future__ import annotations

from magenta_lite.models.jukebox.generation import MODES, generate

__all__ = ["MODES", "OPTIONS", "generate"]

OPTIONS = ("total_seconds", "prompt_seconds", "top_k", "top_p", "min_p")
