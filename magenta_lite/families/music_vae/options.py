"""Options of `generate` for a MusicVAE; no TensorFlow."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.chords import typed_symbols
from magenta_lite.converters.groove import PITCH_MAPS
from magenta_lite.converters.trio import PARTS
from magenta_lite.errors import UserError
from magenta_lite.modeling.gaps import Gap, tracks_of
from magenta_lite.modeling.options import SamplingOptions, option

STEPS_PER_BAR = 16
MOST_BARS = 10_000  # of a piece
# The parts that a model writes, by the kind of its converter, if it fills gaps.
FILLED = {"melody": ("melody",), "drums": ("drums",), "trio": PARTS}


@dataclasses.dataclass(frozen=True)
class MusicVAEOptions(SamplingOptions):
    """Options of a MusicVAE."""

    family: ClassVar[str] = "music_vae"

    window: str = option(
        "1", "Window of an input to encode: 1 for the first, 2 for the second, …, or all."
    )
    bars: str = option(
        "",
        "Length of a piece in bars: windows side by side, of the inputs or on a path through "
        "latent space. Default: one window. For --mode=infill, the bars of --input to rewrite, "
        "e.g. 5-8 or 5; a pickup is bar 1.",
    )
    chords: str = option("", 'Chords to follow, spread evenly, e.g. "C Am F G".')
    attribute: str = option("", "Attribute vector that `magenta_lite.latents` wrote.", is_path=True)
    amount: float = option(1.0, "Factor on the attribute vector; negative to subtract it.")
    prior: str = option(
        "data",
        "Distribution of the latent vectors of --mode=sample: data, the aggregated posterior of "
        "the training data, unless the model was imported; or standard, N(0, I).",
        choices=("data", "standard"),
    )
    keep_hits: bool = option(
        False,
        "Keep the hits of --input, so that only their velocities and times are the model's; for "
        "--mode=reconstruct of grooves.",
    )
    inference_pitch_map: str = option(
        "reduced",
        "Drums that a model of grooves reads in --input: reduced, those of General MIDI; or "
        "roland, the pitches of a Roland kit.",
        choices=tuple(PITCH_MAPS),
    )

    @property
    def takes_seeds(self) -> bool:
        return self.mode == "sample" and not self.bars

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        fills = ["infill"] * (converter.config.kind in FILLED)
        return ("sample", "reconstruct", "interpolate", "attribute", *fills)

    @property
    def num_bars(self) -> int:
        """Length of a piece in bars; 0 for one window. Raises: UserError as of `check_length`."""
        self.check_length()
        return int(self.bars or 0) if self.mode != "infill" else 0

    def check_length(self) -> None:
        """Raises: UserError if `bars` is not the length of a piece in a mode that takes one."""
        bars = str(self.bars or "")
        is_number = bars.isdecimal() and 1 <= int(bars) <= MOST_BARS
        if bars and self.mode != "infill" and not is_number:
            raise UserError(
                f"--bars={bars}: the length of a piece is a number of bars, 1 to {MOST_BARS:,}; "
                "--mode=infill rewrites bars, e.g. --bars=5-8"
            )

    def gaps(self, converter: Any) -> list[Gap]:
        """Returns what is rewritten in each input: the parts that a model has."""
        found = []
        for name, piece in self.inputs:
            known = {name for track in tracks_of(piece) for name in track.names}
            parts = [part for part in FILLED[converter.config.kind] if part in known]
            if not parts:
                raise UserError(f"{name} has no {' and no '.join(FILLED[converter.config.kind])}")
            found.append(Gap.of(name, piece, str(self.bars), parts))
        return found

    def total_length(self) -> float:
        return self.num_outputs * STEPS_PER_BAR * (self.num_bars or 1)

    def check(self, converter: Any) -> None:
        super().check(converter)
        mode, count = self.mode, len(self.inputs)
        if mode == "infill":
            self.check_rewriting()
            self.gaps(converter)
        self.check_length()
        if converter.config.kind != "groove":
            self.check_hits(False)
        if self.keep_hits and not (mode == "reconstruct" and converter.config.kind == "groove"):
            raise UserError("--keep_hits is for --mode=reconstruct of grooves; leave it out")
        if mode != "sample" and self.prior != MusicVAEOptions.prior:
            raise UserError(
                f"--prior={self.prior} is the distribution of --mode=sample; --mode={mode} does "
                "not sample"
            )
        if mode == "interpolate" and count != 2:
            raise UserError(
                f"--mode=interpolate needs two --input files, the start and the end; it got {count}"
            )
        if mode == "interpolate" and self.window == "all":
            raise UserError("--mode=interpolate goes from one window to one: give --window=NUMBER")
        if mode == "interpolate" and self.num_outputs < 2:
            raise UserError(f"--num_outputs={self.num_outputs} must be 2 or more to interpolate")
        if mode in ("reconstruct", "attribute") and not count:
            raise UserError(f"--mode={mode} needs at least one --input=FILE")
        if mode == "attribute":
            load_attribute(self.attribute)
        self._check_chords(converter.event_format.control == "chords")

    def check_hits(self, follows_hits: bool) -> None:
        """Raises: UserError if a model that follows hits samples without input, or another with."""
        if self.mode != "sample" or bool(self.inputs) == follows_hits:
            return
        if follows_hits:
            raise UserError("this model follows given hits: give a drum pattern with --input=FILE")
        raise UserError("--mode=sample takes no --input; did you mean --mode=reconstruct?")

    def _check_chords(self, follows_chords: bool) -> None:
        if self.chords and not follows_chords:
            raise UserError(f"--chords={self.chords}: this model does not follow chords")
        if self.chords:
            typed_symbols(self.chords)
        elif follows_chords and self.mode == "sample":
            raise UserError(
                'this model follows chords: give them with --chords, e.g. --chords="C G Am F"'
            )


def load_attribute(path: str) -> np.ndarray:
    """Returns the attribute vector in `path`, float32 (Z,). Raises: UserError if there is none."""
    if not path:
        raise UserError("--mode=attribute needs --attribute=FILE.npz, see magenta_lite.latents")
    try:
        vector = np.load(Path(path).expanduser())["attribute"].astype(np.float32)
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not an attribute vector ({error})") from error
    if vector.ndim != 1:
        raise UserError(f"{path} holds an array of shape {list(vector.shape)}, not a vector")
    return vector
