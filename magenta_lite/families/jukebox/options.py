"""Options of `generate` for priors of codes; no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from magenta_lite.errors import UserError
from magenta_lite.modeling.limits import MOST_SECONDS
from magenta_lite.modeling.options import SamplingOptions, option


@dataclasses.dataclass(frozen=True)
class PriorOptions(SamplingOptions):
    """Options of every prior."""

    most_together: ClassVar[int] = MOST_SECONDS
    unit: ClassVar[str] = "seconds"

    total_seconds: float = option(10.0, "Length of a piece, the prompt included.", least=0.01)
    prompt_seconds: float = option(
        5.0, "How much of --input, from its beginning, a piece continues.", least=0.01
    )

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        del converter
        return ("sample", "continue")

    def total_length(self) -> float:
        return self.num_outputs * self.total_seconds

    def check(self, converter: Any) -> None:
        super().check(converter)
        self.check_inputs()
        if len(self.inputs) > 1:
            raise UserError(f"{len(self.inputs)} --input files: a piece continues one sound")
        if not converter.config.vqvae:
            raise UserError(
                "This run does not say which VQ-VAE its codes are of; import it again with --vqvae"
            )

    def needed_runs(self, converter: Any) -> tuple[str, ...]:
        return (converter.config.vqvae,)

    def temperature_of(self, place: int) -> float:
        """Returns the temperature of a level, 0 the top one."""
        del place
        return self.temperature


@dataclasses.dataclass(frozen=True)
class JukeboxOptions(PriorOptions):
    """Options of a prior of Jukebox, with labels and upsamplers."""

    family: ClassVar[str] = "jukebox"

    artist: str = option("", "Artist that the piece is like; a name of the training data.")
    genre: str = option("", "Genre of the piece; a name of the training data.")
    lyrics: str = option(
        "", "Lyrics that are sung: the text, or a text file.", is_text_or_file=True
    )
    upsamplers: tuple[str, ...] = option(
        (),
        "Run directories of the upsamplers that write the finer levels.",
        is_path=True,
        is_run=True,
    )
    temperatures: tuple[str, ...] = option(
        (), "Temperature of each level, the top one first, instead of --temperature."
    )

    def check(self, converter: Any) -> None:
        super().check(converter)
        self.temperature_of(0)

    def needed_runs(self, converter: Any) -> tuple[str, ...]:
        return (*super().needed_runs(converter), *self.upsamplers)

    def temperature_of(self, place: int) -> float:
        """Returns the temperature of a level, 0 the top one.

        Raises:
            UserError: If a given temperature is not a number.
        """
        if not self.temperatures:
            return self.temperature
        try:
            temperatures = [float(text) for text in self.temperatures]
        except ValueError as error:
            given = ",".join(self.temperatures)
            raise UserError(f"--temperatures={given} must be numbers, top level first") from error
        return temperatures[min(place, len(temperatures) - 1)]


@dataclasses.dataclass(frozen=True)
class DelayPriorOptions(PriorOptions):
    """Options of a prior over several codes per frame, which has no labels and no upsamplers."""

    family: ClassVar[str] = "jukebox_delay"
