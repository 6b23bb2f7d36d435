"""Generation options of a MuseNet; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.musenet import controls, vocabulary
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.modeling.gaps import Gap
from magenta_lite.modeling.options import InfillOptions, TokenOptions, option

TOKENS_PER_MINUTE = 2000  # of dense music
ATTRIBUTES = tuple(attribute.name for attribute in controls.ATTRIBUTES)


@dataclasses.dataclass(frozen=True)
class MuseNetOptions(InfillOptions, TokenOptions):
    """Options of a MuseNet."""

    family: ClassVar[str] = "musenet"

    style: str = option("", "Style of the piece, one of the styles in the data set.")
    instruments: tuple[str, ...] = option(
        (), "Instruments that the model is conditioned on, e.g. piano,bass,drums."
    )
    strict: bool = option(False, "Exclude all instruments but those of --instruments.")
    density: tuple[str, ...] = option(
        (),
        "How many notes instruments begin in a second: low (at most 3; drums 6), medium or high "
        "(more than 6; drums 10), e.g. drums:high,piano:low.",
    )
    polyphony: tuple[str, ...] = option(
        (),
        "How many notes of instruments sound together: low (one), medium or high (more than two), "
        "e.g. piano:high.",
    )
    pitch_range: tuple[str, ...] = option(
        (),
        "From the lowest to the highest note of instruments: narrow (an octave at most), medium or "
        "wide (more than 20 semitones), e.g. bass:narrow.",
    )
    note_length: tuple[str, ...] = option(
        (),
        "Length of most notes of instruments: short (at most 0.18 s), medium or long (more than "
        "0.3 s), e.g. piano:short.",
    )
    minutes: float | None = option(None, "Exact length of the piece in minutes.", least=0.01)
    guidance: float = option(
        1.0,
        "Scale of classifier-free guidance by --style, --instruments and options like --density: "
        "1 for none, 2 to 4 to follow them more closely.",
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
    option_hints: ClassVar[dict[str, str]] = {
        attribute.name: "models trained with --set converter.controls=0.5 have it"
        for attribute in controls.ATTRIBUTES
    }

    def __post_init__(self) -> None:
        for name in ATTRIBUTES:
            object.__setattr__(self, name, controls.pairs(getattr(self, name)))

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        fills = converter.config.infill > 0
        return ("sample", "continue", "accompany", *(["infill"] * fills))

    @property
    def takes_seeds(self) -> bool:
        return self.mode == "sample" and self.candidates == 1

    @classmethod
    def names(cls, converter: Any) -> tuple[str, ...]:
        own = () if converter.config.controls else ATTRIBUTES
        return tuple(name for name in super().names(converter) if name not in own)

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
        self._check_controls()

    def control_ids(self) -> list[int]:
        """Returns the tokens that tell the model how instruments shall play; see `controls`.

        Raises:
            UserError: If an option has an unknown instrument or level.
        """
        return controls.ids_of(self._levels()).tolist()

    def _levels(self) -> np.ndarray:
        return controls.asked({name: getattr(self, name) for name in ATTRIBUTES})

    def _check_controls(self) -> None:
        """Raises: UserError if controls are invalid, or of instruments that are left out."""
        for player in controls.players(self._levels()):
            options = ", ".join(f"--{name}" for name in ATTRIBUTES if getattr(self, name))
            if self.mode == "infill" and not all(player in _players(gap) for gap in self.gaps()):
                raise UserError(
                    f"{options}: the tracks to rewrite have no {player.name}; leave {player.name} "
                    "out, or choose --tracks"
                )
            wanted = set(self.instruments)
            if wanted and self.mode != "accompany" and not {player.name, player.family} & wanted:
                raise UserError(
                    f"{options}: --instruments={','.join(self.instruments)} has no {player.name}; "
                    "add it"
                )


def _players(gap: Gap) -> set[vocabulary.Instrument]:
    """Returns the instruments that encode the tracks of a gap."""
    return {vocabulary.instrument_of(*track.key[1:]) for track in gap.tracks}
