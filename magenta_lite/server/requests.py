"""What a client may ask of a model: a pydantic model made from the options of its family."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from magenta_lite.config import ExperimentConfig, load_config
from magenta_lite.converters import SOUND_CONVERTERS, build_converter
from magenta_lite.errors import UserError
from magenta_lite.families import FAMILIES
from magenta_lite.modeling.limits import MOST, MOST_SEED
from magenta_lite.modeling.options import GenerateOptions, options_of, random_seed
from magenta_lite.server.rendering import media_types

MOST_OUTPUTS = 64  # of a request


@dataclasses.dataclass(frozen=True)
class Served:
    """A model as clients see it.

    Attributes:
        name: The last part of its run directory.
        run_dir: Its run directory.
        config: The config of the run.
        converter: The converter of the run.
        schema: Pydantic model of a request's options.
        runs: The run directories of all served models by name, which options that name runs use.
    """

    name: str
    run_dir: Path
    config: ExperimentConfig
    converter: Any
    schema: type[pydantic.BaseModel]
    runs: Mapping[str, Path]

    @property
    def options_class(self) -> type[GenerateOptions]:
        return FAMILIES[self.config.family].options_class

    @property
    def is_sound(self) -> bool:
        return self.config.converter.kind in SOUND_CONVERTERS

    @property
    def description(self) -> dict[str, Any]:
        """What `GET /models` says of the model."""
        return {
            "name": self.name,
            "family": self.config.family,
            "config": self.config.name,
            "makes": "sound" if self.is_sound else "notes",
            "media_types": media_types(self.is_sound),
            "options": self.schema.model_json_schema(),
        }

    def options(self, given: Mapping[str, Any], num_inputs: int) -> GenerateOptions:
        """Returns options without inputs, checked as far as that is possible without the inputs.

        Args:
            given: Values by name, valid for `schema`; a missing seed is drawn.
            num_inputs: Number of files of the request.

        Raises:
            UserError: If the options do not fit the model or each other.
        """
        own = options_of(self.options_class)
        found = {name: value for name, value in given.items() if value is not None}
        for name in own.keys() & found.keys():
            if own[name].metadata["is_run"]:
                found[name] = self._run_dirs(name, found[name])
        found.setdefault("seed", random_seed())
        found.setdefault("num_outputs", 1)
        options = self.options_class.of(self.config.generate, reads_files=False, **found)
        options.check_names(self.converter)
        if not num_inputs:
            options.check(self.converter)
        return options

    def _run_dirs(self, name: str, served: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the run directories of served models: clients name no path of this machine."""
        for each in served:
            if each not in self.runs:
                known = ", ".join(sorted(self.runs))
                raise UserError(f"{name}: '{each}' is not a served model; served are {known}")
        return tuple(str(self.runs[each]) for each in served)


def served_models(run_dirs: list[Path]) -> dict[str, Served]:
    """Returns the models of run directories by name.

    Raises:
        UserError: If a folder is not a run directory, or two have the same name.
    """
    runs = {}
    for path in run_dirs:
        name = path.resolve().name
        if name in runs:
            raise UserError(f"{runs[name]} and {path} have the same name; rename one of them")
        runs[name] = path
    return {name: _served(name, path, runs) for name, path in runs.items()}


def _served(name: str, path: Path, runs: Mapping[str, Path]) -> Served:
    config = load_config(path / "config.yaml")
    converter = build_converter(config.converter)
    return Served(name, path, config, converter, _schema(name, config, converter), runs)


def _schema(name: str, config: ExperimentConfig, converter: Any) -> type[pydantic.BaseModel]:
    """Returns a pydantic model of the options of one model, with types, limits and defaults.

    Options that are paths of this machine are left out, with the mode of the same name, if any.
    """
    options_class = FAMILIES[config.family].options_class
    own = options_of(options_class)
    paths = {name for name, field in own.items() if field.metadata["is_path"]}
    runs = {name for name, field in own.items() if field.metadata["is_run"]}
    hints = typing.get_type_hints(options_class)
    modes = [mode for mode in options_class.modes(converter) if mode not in paths]
    qpm = config.generate.qpm
    fields: dict[str, Any] = {
        "mode": (Literal[*modes], pydantic.Field(modes[0], description="What to do.")),
        "num_outputs": _field(int, 1, "Number of pieces.", least=1, most=MOST_OUTPUTS),
        "temperature": _field(
            float,
            config.generate.temperature,
            "Below 1 closer to the most probable events; 0 takes the most probable.",
            least=0,
        ),
        "seed": _field(
            int, None, "The same seed gives the same music; by default a new one.", 0, MOST_SEED
        ),
        "qpm": _field(float, None, f"Quarter notes a minute; {qpm:g} by default.", least=1),
        "programs": _field(tuple[int, ...], None, "General MIDI programs of the melodic parts."),
    }
    for option in options_class.names(converter):
        if option in paths - runs:
            continue
        metadata = own[option].metadata
        default = getattr(config.generate, option, own[option].default)
        kind = Literal[*metadata["choices"]] if metadata["choices"] else hints[option]
        help = metadata["help"] + " Given as names of served models." * (option in runs)
        most = MOST.get(option, metadata["most"])
        fields[option] = _field(kind, default, help, metadata["least"], most)
    config_dict = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
    return pydantic.create_model(f"Options of {name}", __config__=config_dict, **fields)


def _field(
    kind: Any, default: Any, help: str, least: float | None = None, most: float | None = None
) -> tuple[Any, Any]:
    """Returns the type of a pydantic field and the field."""
    if default is None and not isinstance(kind, types.UnionType):
        kind = kind | None
    return kind, pydantic.Field(default, description=help, ge=least, le=most)
