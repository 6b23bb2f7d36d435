"""How well such a prior predicts the codes of held-out sound: measured as of any prior."""

from __future__ import annotations

from magenta_lite.families.jukebox.evaluation import MEANINGS, evaluate

__all__ = ["MEANINGS", "evaluate"]
