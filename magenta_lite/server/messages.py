"""What the server and the processes of its models send each other."""

from __future__ import annotations

import dataclasses
from typing import Any

from magenta_lite.modeling.options import GenerateOptions


@dataclasses.dataclass(frozen=True)
class Task:
    """A request to a model.

    Attributes:
        id: Number of the request.
        options: Checked options without inputs.
        files: Names and contents of the input files.
        media_type: Media type of the answer.
        about: What the answer says of itself: model, mode, seed and temperature.
    """

    id: int
    options: GenerateOptions
    files: tuple[tuple[str, bytes], ...]
    media_type: str
    about: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Done:
    """The answer to a task."""

    id: int
    media_type: str
    content: bytes


@dataclasses.dataclass(frozen=True)
class Failed:
    """The error of a task; `is_users` if another request would be answered."""

    id: int
    message: str
    is_users: bool


@dataclasses.dataclass(frozen=True)
class Said:
    """A line of progress of the tasks that are running."""

    text: str


@dataclasses.dataclass(frozen=True)
class Ready:
    """The worker has loaded its model, or has answered all tasks that it got together."""
