"""The registry of model families; no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from magenta_lite.modeling.options import GenerateOptions

if TYPE_CHECKING:
    from magenta_lite.modeling.music_model import MusicModel


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of models: its config sections, its options and its model class.

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


FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Registers a family by its name."""
    FAMILIES[family.name] = family
