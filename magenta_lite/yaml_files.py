"""YAML of values only: files that may come from a stranger, and values of `--set`.

Tags, which can create objects, and aliases, which can expand without limit, are refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from yaml import YAMLError

from magenta_lite.errors import UserError, first_line
from magenta_lite.files import UNPRINTABLE, open_regular, printable

MAX_BYTES = 2**24  # ten times a run with 100,000 artists
MAX_DEPTH = 16  # of nested lists and mappings
MAX_EVENTS = 500_000  # values, and beginnings and ends of lists and mappings

# libyaml is ten times as fast, but cannot write or read surrogates, which stand for the bytes of
# file names that are not UTF-8.
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SURROGATE = "\\uD"  # as YAML writes it


class _Dumper(yaml.SafeDumper):
    """Writes characters that a line of text cannot hold as escapes."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if UNPRINTABLE.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
_Dumper.ignore_aliases = lambda self, data: True


def to_yaml(tree: Any) -> str:
    """Returns a tree of dictionaries, lists, tuples and values as YAML."""
    return yaml.dump(
        tree, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )


def read_yaml(path: Path) -> Any:
    """Reads a YAML file.

    Raises:
        UserError: If it cannot be read, is not YAML, or contains tags, aliases or deep nesting;
            names the line.
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise UserError(
                    f"{path} is larger than {MAX_BYTES // 2**20} MB: it is not a config"
                )
            return parse_yaml(file.read().decode("utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8; copy the run again") from error
    except YAMLError as error:
        raise UserError(f"{path}{reason_of(error)}; correct it or copy the run again") from error


def parse_yaml(text: str) -> Any:
    """Returns the tree of a YAML text.

    Raises:
        YAMLError: If it is not YAML, or contains tags, aliases or deep nesting.
    """
    loader: Any = yaml.SafeLoader if _SURROGATE in text else _FAST
    depth = 0
    for number, event in enumerate(yaml.parse(text, loader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            problem = "aliases (*name) and tags (!name) are not read"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or number > MAX_EVENTS:
            problem = f"more than {MAX_EVENTS:,} values, or {MAX_DEPTH} lists inside each other"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
    try:
        return yaml.load(text, loader)
    except (ValueError, TypeError) as error:  # e.g. a date with a month 13, a list as a key
        raise YAMLError(str(error)) from error


def reason_of(error: YAMLError) -> str:
    """Returns the line of a YAML error, if it is known, and its reason."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = f", line {mark.line + 1}" if mark else ""
    return f"{place}: {printable(problem or first_line(error))[:200]}"
