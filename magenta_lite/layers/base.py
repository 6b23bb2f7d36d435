"""The base class of the layers, and how Keras saves layers and models."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import keras


class FromArguments:
    """Mixin for classes whose config consists of the arguments of their constructor.

    An argument is read from the attribute of the same name. A dataclass is saved as a dict and
    restored by the argument's annotation; other objects are saved as Keras saves them.
    """

    # The attributes of arguments with another name.
    attributes: ClassVar[Mapping[str, str]] = {}

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, for `from_config`."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
        arguments = {name: _saved(getattr(self, self.attributes.get(name, name))) for name in names}
        of_keras = getattr(super(), "get_config", dict)()  # name, trainable, dtype policy
        return arguments | of_keras

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns an object with the arguments of a config."""
        types = typing.get_type_hints(cls.__init__)
        return cls(**{name: _restored(value, types.get(name)) for name, value in config.items()})


class Layer(FromArguments, keras.layers.Layer):
    """A layer whose constructor creates all weights.

    Args:
        autocast: Whether Keras casts float inputs to the compute type; otherwise `call` casts.
        **kwargs: `name`, `dtype` and `trainable`, as of `keras.layers.Layer`.
    """

    def __init__(self, autocast: bool = False, **kwargs: Any):
        super().__init__(autocast=autocast, **kwargs)
        self.built = True


def _saved(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return keras.saving.serialize_keras_object(value)


def _restored(value: Any, annotation: Any) -> Any:
    kinds = (annotation, *typing.get_args(annotation))  # several for an optional dataclass
    sections: list[Any] = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if sections and isinstance(value, Mapping):
        return sections[0](**value)
    return keras.saving.deserialize_keras_object(value)
