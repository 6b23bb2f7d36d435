"""What a user asks a trained model for, and whether such a model can do it; no TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any, NamedTuple

from magenta_lite.errors import UserError
from magenta_lite.unfinished import Unfinished


@dataclasses.dataclass(frozen=True)
class GenerateRequest:
    """What the user asks a model for.

    Attributes:
        mode: One of the family's modes.
        inputs: Pairs of a file's name and its NoteSequence.
        window: Which window of an input: a number from 1, or `all`.
        num_outputs: How many pieces.
        temperature: Divides the logits.
        seed: Of every random draw.
        qpm: Tempo of what is written.
        programs: General MIDI programs of the melodic parts; empty for the converter's own.
        bars: Length of a piece; None for one window.
        chords: Chord symbols to follow.
        attribute: Path of an attribute vector.
        amount: How much of it to add.
        qpm_given: Whether the user asked for this tempo.
        primer_melody: Events to go on from, a list as text; empty for none.
        primer_drums: Drums to go on from, a list as text; empty for none.
        primer_pitches: A chord to go on from, a list as text; empty for none.
        backing_chords: Chord symbols of equal length to play over; empty for the family's own.
        steps_per_chord: Length of each of them.
        render_chords: Write them as notes, too.
        num_steps: Steps of a piece, primer included; None for the family's usual.
        new_steps: Steps to add to a primer; None to go by `num_steps`.
        num_tokens: Tokens of a piece, primer included; None for the family's usual.
        style: Of a piece; empty to leave it open.
        instruments: Names of instruments or families; empty to leave it open.
        strict: Whether only those may play.
        minutes: Length of a piece; None for open.
        guidance: How much more than by itself a model heeds style and instruments; 1 for not.
        candidates: Pieces to write for each one that is kept.
        rank: What decides which are kept: `critic` or `likelihood`.
        primer_bars: How many of the last bars of an input are gone on from; None for what leaves
            room.
        primer_seconds: The same in seconds; None for the family's usual.
        total_seconds: Length of a piece of sound, prompt included.
        prompt_seconds: How much of a sound is gone on from.
        artist: Name of who the piece is like; empty for open.
        genre: Name of its kind; empty for open.
        lyrics: Text that is sung.
        upsamplers: Run directories of what writes finer levels.
        temperatures: Of each level, as text, the top one first; empty for `temperature`.
        prior: What a MusicVAE draws latent vectors from, see its `latents`.
        unfinished: Keeps what is written so far; None for nowhere.
        only_new: Leave the primer out of what is written.
        drop_melody: Leave the melody out of an accompaniment.
        magenta_timing: Treat the primer as the original does.
        top_k: Draw from so many of the most probable; 0 for all.
        top_p: Draw from the most probable that together reach this probability.
        min_p: Draw from those at least this share as probable as the most probable one.
        beam_size: Samples to keep.
        branch_factor: Samples to draw from each of them.
        steps_per_iteration: Steps before some are kept.
        best_beam: Search for the likeliest pieces instead of sampling.
    """

    mode: str
    inputs: list
    window: str
    num_outputs: int
    temperature: float
    seed: int
    qpm: float
    programs: tuple[int, ...] = ()
    bars: int | None = None
    chords: str = ""
    attribute: str = ""
    amount: float = 1.0
    qpm_given: bool = False
    primer_melody: str = ""
    primer_drums: str = ""
    primer_pitches: str = ""
    backing_chords: str = ""
    steps_per_chord: int = 16
    render_chords: bool = False
    num_steps: int | None = None
    new_steps: int | None = None
    num_tokens: int | None = None
    style: str = ""
    instruments: tuple[str, ...] = ()
    strict: bool = False
    minutes: float | None = None
    guidance: float = 1.0
    candidates: int = 1
    rank: str = "critic"
    primer_bars: int | None = None
    primer_seconds: float | None = None
    total_seconds: float = 10.0
    prompt_seconds: float = 5.0
    artist: str = ""
    genre: str = ""
    lyrics: str = ""
    upsamplers: tuple[str, ...] = ()
    temperatures: tuple[str, ...] = ()
    prior: str = "data"
    unfinished: Unfinished | None = None
    only_new: bool = False
    drop_melody: bool = False
    magenta_timing: bool = False
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    beam_size: int = 1
    branch_factor: int = 1
    steps_per_iteration: int = 1
    best_beam: bool = False


# Fields that every family understands; it names the others that it does in its `options`.
EVERYWHERE = (
    "mode",
    "inputs",
    "window",
    "num_outputs",
    "temperature",
    "seed",
    "qpm",
    "programs",
    "qpm_given",
    "unfinished",
)
OPTIONAL = tuple(
    field.name for field in dataclasses.fields(GenerateRequest) if field.name not in EVERYWHERE
)


class Reconstruction(NamedTuple):
    """A piece, and the part of an input that it was made of.

    Attributes:
        input: NoteSequence of what a model was given, as it reads it.
        output: NoteSequence of what came back.
    """

    input: Any
    output: Any


def rules_of(family: str):
    """Returns the module that says what may be asked of the models of a family.

    `modes(converter)` are what a model can do, `options(converter)` the fields of a `GenerateRequest`
    that it knows beside `EVERYWHERE`, `check(converter, request)` raises a UserError where a value is
    wrong or missing, and `DRAWS` says whether anything is drawn at random. `HINTS`, if there are,
    say which models have a mode that this one has not.
    """
    return importlib.import_module(f"magenta_lite.families.{family}.request")


def check_names(family: str, converter, request: GenerateRequest) -> None:
    """Raises: UserError if a model has no such mode, or does not know an option.

    Args:
        family: Of the model.
        converter: Its converter.
        request: Its inputs do not matter.
    """
    rules = rules_of(family)
    modes, options = rules.modes(converter), rules.options(converter)
    if request.mode not in modes:
        hint = rules.HINTS.get(request.mode, "") if hasattr(rules, "HINTS") else ""
        raise UserError(
            f"--mode={request.mode} is none of the modes of this {family} model: "
            f"{', '.join(modes)}{hint}"
        )
    for name in OPTIONAL:
        if name not in options and getattr(request, name) != getattr(GenerateRequest, name):
            raise UserError(f"--{name} means nothing to this {family} model; leave it out")
    converter.check_programs(request.programs)


def check_request(family: str, converter, request: GenerateRequest) -> None:
    """Raises: UserError if a model cannot do what is asked, as far as that is known without it."""
    check_names(family, converter, request)
    rules_of(family).check(converter, request)


def check_inputs(request: GenerateRequest) -> None:
    """Raises: UserError if `sample` is given an input, or `continue` is not."""
    if request.mode == "sample" and request.inputs:
        raise UserError("--mode=sample reads no --input; --mode=continue goes on from it")
    if request.mode == "continue" and not request.inputs:
        raise UserError("--mode=continue needs --input=FILE, what to go on from")
