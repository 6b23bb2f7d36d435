"""Defines the options of all families as flags of `generate`. Imports no TensorFlow."""

from __future__ import annotations

import collections
import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError
from magenta_lite.families import FAMILIES
from magenta_lite.modeling.options import GenerateOptions, options_of

FLAGS = flags.FLAGS


def define() -> None:
    """Defines a flag with the default None for each option of any family."""
    for name, fields in _options_by_name().items():
        helps = collections.defaultdict(list)
        for family, field in fields:
            helps[field.metadata["help"]].append(family)
        text = " ".join(f"[{', '.join(names)}] {help}" for help, names in helps.items())
        _, field = fields[0]
        _define(name, _type_of(fields[0][0], name), field.metadata, text)


def given(options_class: type[GenerateOptions]) -> dict[str, Any]:
    """Returns the options given by the user, by name, with the types of their fields.

    Raises:
        UserError: If an option belongs only to other families.
    """
    own, found = options_of(options_class), {}
    for name, fields in _options_by_name().items():
        value = FLAGS[name].value
        if value is None:
            continue
        if name not in own:
            hint = options_class.option_hints.get(name)
            others = " and ".join(family for family, _ in fields)
            raise UserError(
                f"--{name} means nothing to this {options_class.family} model; "
                + (hint or f"it is an option of {others}")
            )
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


def help_for(options_class: type[GenerateOptions], converter: Any) -> dict[str, str]:
    """Returns the help of each option for one model; empty for options it does not have."""
    own, known = options_of(options_class), options_class.names(converter)
    return {
        name: _help(own[name]) if name in own and name in known else ""
        for name in _options_by_name()
    }


def _help(field: dataclasses.Field) -> str:
    default = "" if field.default in (None, "", (), False) else f" (default: {field.default})"
    return f"{field.metadata['help']}{default}"


def _options_by_name() -> dict[str, list[tuple[str, dataclasses.Field]]]:
    """Returns, by option name, the families that have the option, and their fields."""
    found = collections.defaultdict(list)
    for family in FAMILIES.values():
        for name, field in options_of(family.options_class).items():
            found[name].append((family.name, field))
    return found


def _type_of(family: str, name: str) -> Any:
    """Returns the type of an option, without `None` in a union."""
    annotation = typing.get_type_hints(FAMILIES[family].options_class)[name]
    if isinstance(annotation, types.UnionType):
        (annotation,) = (arg for arg in typing.get_args(annotation) if arg is not type(None))
    return annotation


def _define(name: str, kind: Any, metadata: Mapping[str, Any], help: str) -> None:
    limits = {"lower_bound": metadata["least"], "upper_bound": metadata["most"]}
    if metadata["choices"]:
        flags.DEFINE_enum(name, None, metadata["choices"], help)
    elif kind is bool:
        flags.DEFINE_bool(name, None, help)
    elif kind is int:
        flags.DEFINE_integer(name, None, help, **limits)
    elif kind is float:
        flags.DEFINE_float(name, None, help, **limits)
    elif typing.get_origin(kind) is tuple:
        (cli.define_path_list if metadata["is_path"] else flags.DEFINE_list)(name, None, help)
    elif metadata["is_path"] or metadata["is_text_or_file"]:
        cli.define_path(name, None, help)
    else:
        flags.DEFINE_string(name, None, help)
