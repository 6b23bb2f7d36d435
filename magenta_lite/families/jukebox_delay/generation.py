"""What `generate` does with a prior over several codes a frame: as with any prior, told nothing."""

from __future__ import annotations

from magenta_lite.families.jukebox.generation import generate

__all__ = ["generate"]
