"""The registry of model families; no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from magenta_lite.modeling.options import GenerateOptions

if TYPE_CHECKING:
    from magenta_lite.config import DataConfig, ExperimentConfig
    from magenta_lite.converters.base import Report
    from magenta_lite.modeling.examples import Examples
    from magenta_lite.modeling.music_model import MusicModel

Facts = Mapping[str, Mapping[str, Any]]  # metadata of the pieces of a data set, by their names
OpenFacts = Callable[["DataConfig"], Facts]
EncodedPiece = tuple[str, list[np.ndarray]]  # name of a piece, and its arrays


class PieceEncoder(Protocol):
    """Encodes pieces of sound with a trained model."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, which identifies the encoding."""
        ...

    @property
    def sample_rate(self) -> int:
        """Sample rate of the sound in Hz."""
        ...

    def encode(self, sound: np.ndarray) -> list[np.ndarray]:
        """Returns the arrays of a piece, for its samples int16 (T, channels)."""
        ...


def _absolute(path: str) -> Path:
    """Returns an absolute path, except for a name, as of a preset, which is the same everywhere."""
    found = Path(path).expanduser()
    return found if len(found.parts) == 1 and not found.exists() else found.resolve()


class EncodedData:
    """The data of a family whose examples the trained model of another run encodes.

    Examples are the codes of a VQ-VAE. The data set contains sound, in the encoding of the other
    run; the encoded pieces are cached on disk.

    Attributes:
        run_field: Field of the converter section with the directory of the other run.
        run_about: Description of that run, for messages.
    """

    run_field: ClassVar[str]
    run_about: ClassVar[str]

    def run_dir(self, config: ExperimentConfig) -> Path | None:
        """Returns the path of the other run, or the name of a preset; None without either."""
        path = getattr(config.converter, self.run_field)
        return _absolute(path) if path else None

    def with_run_dir(self, config: ExperimentConfig, path: str) -> ExperimentConfig:
        """Returns the config with another run, or the name of a preset."""
        converter = dataclasses.replace(config.converter, **{self.run_field: str(_absolute(path))})
        return dataclasses.replace(config, converter=converter)

    def completed(
        self, config: ExperimentConfig, encoder: ExperimentConfig, facts: OpenFacts
    ) -> ExperimentConfig:
        """Returns the config with all values that depend on the other run and on the data.

        Args:
            config: Its converter section names the other run.
            encoder: Config of the other run.
            facts: Returns the metadata of the pieces of a data section.

        Raises:
            UserError: If the other run does not match the config.
        """
        raise NotImplementedError

    def encoder(self, model: Any) -> PieceEncoder:
        """Returns the encoder of the other run's model."""
        raise NotImplementedError

    def examples(
        self, config: ExperimentConfig, pieces: Iterable[EncodedPiece], facts: Facts, report: Report
    ) -> Examples:
        """Returns the examples of the encoded pieces of a split, for a config from `completed`.

        The report counts the examples, and the pieces that are dropped.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: The kind of its model section.
        config_class: Class of its model section.
        objective_class: Class of its objective section.
        options_class: Class of its generation options.
        model_class: Returns the class of its models; the call loads TensorFlow.
        about: A description in a few words.
        first_config: The configuration to begin with.
        shown_configs: Configurations that represent all those with the same input music.
        aliases: Other names to look it up by.
        belongs_to: Name of the family that it is listed under; empty for its own.
        encoded_data: How another trained model encodes its data; None for data of notes or sound.
    """

    name: str
    config_class: type
    objective_class: type
    options_class: type[GenerateOptions]
    model_class: Callable[[], type[MusicModel]]
    about: str = ""
    first_config: str = ""
    shown_configs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    belongs_to: str = ""
    encoded_data: EncodedData | None = None


FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Registers a family by its name."""
    FAMILIES[family.name] = family
