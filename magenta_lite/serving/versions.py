"""Folders of numbered versions of a model, as TensorFlow Serving loads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from magenta_lite.errors import UserError
from magenta_lite.files import PARTIAL, remove_partial, replaced
from magenta_lite.locks import locked

LOCK = ".export.lock"


def holds_only_versions(folder: Path) -> bool:
    """Returns whether a path is free, or a folder with nothing but versions."""
    if not folder.exists():
        return True
    return folder.is_dir() and not _others(folder)


@contextlib.contextmanager
def new_version(folder: Path, version: int | None, flag: str) -> Iterator[tuple[Path, Path]]:
    """Yields a temporary folder, and the version's folder that it becomes at the end.

    The version is there as a whole or not at all, whenever the process ends. TensorFlow Serving
    ignores the temporary folder, whose name is no number.

    Args:
        folder: Folder of the versions, which is created.
        version: Number of the version; None for the next one.
        flag: The flag that names `folder`, for messages.

    Raises:
        UserError: If the version exists, `folder` has something else, another process is writing
            it, or it cannot be written.
    """
    if not holds_only_versions(folder):
        held = f"holds {_others(folder)[0]}" if folder.is_dir() else "is a file"
        raise UserError(
            f"{folder} {held}, and a folder of versions holds nothing else; choose another {flag}"
        )
    message = (
        f"{folder} is in use: {{holder}} writes it; wait for its end, or choose another {flag}"
    )
    with locked(folder / LOCK, message, flag):
        remove_partial(folder)
        if version is None:
            version = max(_versions(folder), default=0) + 1
        elif version in _versions(folder):
            raise UserError(
                f"{folder / str(version)} exists already; remove it or choose another --version"
            )
        target = folder / str(version)
        with replaced(target) as partial:
            yield partial, target


def _versions(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if _is_version(path)]


def _is_version(path: Path) -> bool:
    return path.is_dir() and path.name.isascii() and path.name.isdecimal()


def _others(folder: Path) -> list[str]:
    """Returns the names of what is neither a version nor left by an export."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if not (_is_version(path) or path.name == LOCK or path.name.startswith(PARTIAL))
    )
