"""What the package knows of a family of models without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from magenta_lite.families.options import GenerateOptions

if TYPE_CHECKING:
    from magenta_lite.modeling.music_model import MusicModel


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of models: its sections of a config, its options, and how to get at its model.

    Attributes:
        name: The kind of its model section, and the name of its folder.
        config_class: Its model section.
        objective_class: Its objective section.
        options_class: What its models may be asked for.
        model_class: Returns the class of its models; the call loads TensorFlow.
        about: What it makes, in a few words.
        first_config: The configuration to begin with.
        shown_configs: Configurations that stand for all that read the same of a folder of music.
        aliases: Other names by which people look for it.
        belongs_to: Name of the family that it is presented with; empty for itself.
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
