"""What a prior over several codes per frame may be asked for; no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.families.jukebox.options import PriorOptions


@dataclasses.dataclass(frozen=True)
class DelayPriorOptions(PriorOptions):
    """Options of a prior without labels and without upsamplers."""

    family: ClassVar[str] = "jukebox_delay"
