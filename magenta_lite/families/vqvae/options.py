"""Options of `generate` for a VQ-VAE; no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from magenta_lite.errors import UserError
from magenta_lite.modeling.options import GenerateOptions


@dataclasses.dataclass(frozen=True)
class VQVAEOptions(GenerateOptions):
    """Options of a VQ-VAE, which reconstructs sounds."""

    family: ClassVar[str] = "vqvae"

    draws: ClassVar[bool] = False

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        del converter
        return ("reconstruct",)

    def check(self, converter: Any) -> None:
        super().check(converter)
        if not self.inputs:
            raise UserError("--mode=reconstruct needs --input=FILE, a sound file")
