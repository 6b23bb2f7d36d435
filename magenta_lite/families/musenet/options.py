"""Generation options of a MuseNet; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.modeling.options import InfillOptions, TokenOptions, option

TOKENS_PER_MINUTE = 2000  # of dense music


@dataclasses.dataclass(frozen=True)
class MuseNetOptions(InfillOptions, TokenOptions):
    """Options of a MuseNet."""

    family: ClassVar[str] = "musenet"

    style: str = option("", "Style of the piece, one of the styles in the data set.")
    instruments: tuple[str, ...] = option(
        (), "Instruments that the model is conditioned on, e.g. piano,bass,drums."
    )
    strict: bool = option(False, "Exclude all instruments but those of --instruments.")
    minutes: float | None = option(None, "Exact length of the piece in minutes.", least=0.01)
    guidance: float = option(
        1.0,
        "Scale of classifier-free guidance by --style and --instruments: 1 for none, 2 to 4 to "
        "follow them more closely.",
        least=0.0,
    )
    candidates: int = option(1, "Pieces to generate for each one that is kept.", least=1)
    rank: str = option(
        "critic",
        "How candidates are ranked: by the model's critic or by their likelihood.",
        choices=("critic", "likelihood"),
    )

    mode_hints: ClassVar[dict[str, str]] = {
        "infill": "; models trained with --set converter.infill=0.5 fill gaps"
    }

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        fills = converter.config.infill > 0
        return ("sample", "continue", "accompany", *(["infill"] * fills))

    def total_length(self) -> float:
        tokens = TOKENS_PER_MINUTE * (self.minutes or 0)
        return self.candidates * max(super().total_length(), self.num_outputs * tokens)

    def check(self, converter: Any) -> None:
        super().check(converter)
        known = {name for i in vocabulary.INSTRUMENTS for name in (i.name, i.family)}
        for name in self.instruments:
            if name not in known:
                raise unknown_name("instrument", name, known)
        converter.prefix(self.style, ())
        if self.strict and not self.instruments:
            raise UserError("--strict needs --instruments, e.g. --instruments=piano,bass,drums")
        if self.minutes and self.num_tokens:
            raise UserError("--minutes and --num_tokens both set the length; leave one out")
        self.check_inputs()
        if self.mode == "infill" and (self.minutes or self.num_tokens or self.instruments):
            raise UserError(
                "--mode=infill rewrites --bars of --tracks; leave out --minutes, --num_tokens and "
                "--instruments"
            )
        if self.mode == "accompany" and not self.inputs:
            raise UserError("--mode=accompany needs --input=FILE, the music that others join")
        if self.mode == "accompany" and (self.minutes or self.num_tokens):
            raise UserError("--mode=accompany goes to the end of --input; leave out how long")
