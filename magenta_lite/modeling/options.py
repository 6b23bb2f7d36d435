"""Options of generation, as dataclass fields that become flags; no TensorFlow."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from magenta_lite.errors import UserError
from magenta_lite.modeling.gaps import Gap
from magenta_lite.modeling.limits import MOST, MOST_EVENTS, check_range, check_total
from magenta_lite.unfinished import Unfinished

TEXT_SUFFIXES = (".txt", ".lrc", ".text")


def option(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    is_path: bool = False,
    is_run: bool = False,
    is_text_or_file: bool = False,
) -> Any:
    """Returns a dataclass field that `generate` offers as a flag of the same name.

    Args:
        default: Default value.
        help: One or two sentences for `--help`.
        least: Smallest allowed number.
        most: Largest allowed number, if it follows from the meaning; see also `limits.MOST`.
        choices: Allowed values; empty for any.
        is_path: Whether the text, or each text of a tuple, is a path, in which `~` is expanded.
        is_run: Whether these paths are run directories.
        is_text_or_file: Whether the user gives a text or the path of a text file.
    """
    metadata = {
        "help": help,
        "least": least,
        "most": most,
        "choices": choices,
        "is_path": is_path,
        "is_run": is_run,
        "is_text_or_file": is_text_or_file,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Options of every family. A subclass adds fields, made by `option`.

    Attributes:
        mode: One of `modes`.
        inputs: Pairs of a file's name and its NoteSequence, or its `Audio`.
        num_outputs: Number of pieces.
        temperature: Divides the logits; 0 takes the most probable event at each step.
        seed: Seed of all random numbers.
        seeds: Instead of `seed`, that of each output, which is then the first output of a call with
            this seed; only if `takes_seeds`.
        qpm: Tempo of the output in quarter notes per minute.
        qpm_given: Whether the user gave this tempo.
        programs: General MIDI programs of the melodic parts; empty for the converter's own.
        unfinished: Saves unfinished outputs; None for not saving them.
        runs: The loaded runs of `needed_runs`, by their paths.
    """

    mode: str = "sample"
    inputs: tuple[tuple[str, Any], ...] = ()
    num_outputs: int = 1
    temperature: float = 1.0
    seed: int = 0
    seeds: tuple[int, ...] = ()
    qpm: float = 120.0
    qpm_given: bool = False
    programs: tuple[int, ...] = ()
    unfinished: Unfinished | None = None
    runs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    # Name of the family, for errors.
    family: ClassVar[str] = ""
    # Whether generation is random, so that a seed matters.
    draws: ClassVar[bool] = True
    # The largest `total_length`, and its unit.
    most_together: ClassVar[int] = MOST_EVENTS
    unit: ClassVar[str] = "events"
    # Hints to add to the errors for modes, and for options, that a model does not have.
    mode_hints: ClassVar[dict[str, str]] = {}
    option_hints: ClassVar[dict[str, str]] = {}

    @classmethod
    def of(cls, defaults: Any, reads_files: bool = True, **given: Any) -> Self:
        """Returns options with the values that a user gives and the defaults of a config.

        Args:
            defaults: The section `generate` of the config, with defaults by the names of fields.
            reads_files: Whether a text may be given as the path of a text file.
            **given: Values of fields; None for the default.
        """
        given = {name: value for name, value in given.items() if value is not None}
        for name, field in options_of(cls).items():
            if reads_files and name in given and field.metadata["is_text_or_file"]:
                given[name] = _text(name, given[name])
        names = [field.name for field in dataclasses.fields(cls)]
        chosen = {name: getattr(defaults, name) for name in names if hasattr(defaults, name)}
        return cls(**chosen | given, qpm_given="qpm" in given)

    @classmethod
    def modes(cls, converter: Any) -> tuple[str, ...]:
        """Returns the modes of a model with this converter."""
        raise NotImplementedError

    @property
    def takes_seeds(self) -> bool:
        """Whether the outputs of several calls that differ in their seed can be made in one."""
        return False

    @classmethod
    def names(cls, converter: Any) -> tuple[str, ...]:
        """Returns the names of the options of a model with this converter."""
        del converter
        return tuple(options_of(cls))

    def needed_runs(self, converter: Any) -> tuple[str, ...]:
        """Returns the run directories of other models that generation needs."""
        del converter
        return ()

    def check_names(self, converter: Any) -> None:
        """Checks everything that can be checked before the inputs are read.

        Raises:
            UserError: If a model with this converter does not have the mode, an option or the
                programs, or if a number is too small or too large.
        """
        modes, names = self.modes(converter), self.names(converter)
        if self.mode not in modes:
            raise UserError(
                f"--mode={self.mode} is not a mode of this {self.family} model, which has: "
                f"{', '.join(modes)}{self.mode_hints.get(self.mode, '')}"
            )
        for name, field in options_of(type(self)).items():
            if name not in names and getattr(self, name) != field.default:
                hint = self.option_hints.get(name, "leave it out")
                raise UserError(f"--{name} means nothing to this {self.family} model; {hint}")
        converter.check_programs(self.programs)
        check_range("num_outputs", self.num_outputs, 1, MOST["num_outputs"])
        for name, field in options_of(type(self)).items():
            most = MOST.get(name, field.metadata["most"])
            check_range(name, getattr(self, name), field.metadata["least"], most)
        check_total(self.num_outputs, self.total_length(), self.most_together, self.unit)

    def total_length(self) -> float:
        """Returns the length of all pieces together in `unit`, as far as the options tell."""
        return self.num_outputs

    def check(self, converter: Any) -> None:
        """Checks everything that can be checked without the model.

        Raises:
            UserError: If the mode needs other inputs, or a value is invalid for this model.
        """
        self.check_names(converter)

    def replace(self, **changes: Any) -> Self:
        """Returns the same options with some values changed."""
        return dataclasses.replace(self, **changes)

    def check_inputs(self) -> None:
        """Raises: UserError if `sample` is given an input, or `continue` is not."""
        if self.mode == "sample" and self.inputs:
            raise UserError("--mode=sample reads no --input; --mode=continue continues it")
        if self.mode == "continue" and not self.inputs:
            raise UserError("--mode=continue needs --input=FILE, the piece to continue")

    def check_rewriting(self) -> None:
        """Raises: UserError if `infill` is given no input, or a tempo."""
        if not self.inputs:
            raise UserError("--mode=infill needs --input=FILE, the piece to rewrite bars of")
        if self.qpm_given:
            raise UserError("--mode=infill keeps the tempo of --input; leave out --qpm")


@dataclasses.dataclass(frozen=True)
class SamplingOptions(GenerateOptions):
    """Options of autoregressive families."""

    top_k: int = option(0, "Sample from the k most probable events; 0 for all events.", least=0)
    top_p: float = option(
        1.0,
        "Sample from the most probable events that together reach this probability.",
        least=0.0,
        most=1.0,
    )
    min_p: float = option(
        0.0,
        "Sample from events with at least this share of the probability of the most probable one.",
        least=0.0,
        most=1.0,
    )


@dataclasses.dataclass(frozen=True)
class TokenOptions(SamplingOptions):
    """Options of families that continue the tokens of a piece."""

    num_tokens: int | None = option(None, "Length of a piece in tokens, primer included.", least=1)
    primer_seconds: float | None = option(
        None, "Seconds of --input, from its start, that are continued; 20 by default.", least=0.01
    )

    def total_length(self) -> float:
        return self.num_outputs * (self.num_tokens or 1)


@dataclasses.dataclass(frozen=True)
class InfillOptions(GenerateOptions):
    """Options of families that rewrite bars of a piece."""

    bars: str = option(
        "", "Bars of --input that --mode=infill rewrites, e.g. 5-8 or 5; a pickup is bar 1."
    )
    tracks: tuple[str, ...] = option(
        (),
        "Tracks whose bars --mode=infill rewrites, by name or instrument, e.g. melody,bass. "
        "Default: all.",
    )

    @classmethod
    def names(cls, converter: Any) -> tuple[str, ...]:
        own = () if "infill" in cls.modes(converter) else ("bars", "tracks")
        return tuple(name for name in super().names(converter) if name not in own)

    def check(self, converter: Any) -> None:
        super().check(converter)
        if self.mode == "infill":
            self.check_rewriting()
            self.gaps()
        elif self.bars or self.tracks:
            raise UserError("--bars and --tracks say what --mode=infill rewrites")

    def gaps(self) -> list[Gap]:
        """Returns what is rewritten in each input."""
        return [Gap.of(*named, str(self.bars), self.tracks) for named in self.inputs]


class Reconstruction(NamedTuple):
    """An input and its reconstruction.

    Attributes:
        input: NoteSequence of the encoded input, decoded by the converter.
        output: NoteSequence of the model's output.
    """

    input: Any
    output: Any


def random_seed() -> int:
    """Returns a new seed from the operating system, independent of other random seeds."""
    return random.SystemRandom().randint(1, 999_999)


def options_of(options_class: type[GenerateOptions]) -> dict[str, dataclasses.Field]:
    """Returns the fields of a class of options that were made by `option`, by name."""
    fields = dataclasses.fields(options_class)
    return {field.name: field for field in fields if "help" in field.metadata}


def _text(name: str, given: str) -> str:
    """Returns the content of the file `given`, or `given` itself if it does not look like a path.

    Raises:
        UserError: If it looks like the path of a text file, but there is none.
    """
    path = Path(given)
    try:
        if given and path.is_file():
            return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"--{name}={given} is not UTF-8 text") from error
    except OSError:  # too long for a file name
        return given
    if "\n" not in given and path.suffix.lower() in TEXT_SUFFIXES:
        raise UserError(f"--{name}={given}: there is no such file")
    return given
