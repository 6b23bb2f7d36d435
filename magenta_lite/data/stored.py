"""Built data sets on disk: their location, source, size and removal.

Imports no TensorFlow: the metadata that TFDS writes beside the examples are JSON.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from magenta_lite.data import file_cache
from magenta_lite.data.specs import DATASETS
from magenta_lite.errors import UserError
from magenta_lite.files import replaced

USED = "used.json"  # time and source name of the last use, beside the examples
INFO, METADATA = "dataset_info.json", "metadata.json"  # written by TFDS
CONFIGS = ".config"  # TFDS's list of the configs of a builder
CODES = "codes-"  # prefix of the folders with a VQ-VAE's codes
ROWS = "rows-"  # prefix of the folders with the arrays of a split, beside the examples


class Stored(NamedTuple):
    """The data set of one collection in one encoding.

    Attributes:
        name: BUILDER/CONFIG, as in `tfds:NAME`.
        path: Its folder, with all versions and the codes of VQ-VAEs.
        source: The folder or name by which it was last opened; empty if unknown.
        converter: Kind of its converter; empty if the build was not finished.
        sizes: Number of examples of each split.
        size: Bytes on disk.
        built: Time of the build.
        used: Time of the last use.
        codes: Number of VQ-VAEs whose codes of it are stored.
        files: Bytes on disk of the encoded files from which its next build goes on, besides `size`;
            0 if they belong to a newer data set of the same source.
    """

    name: str
    path: Path
    source: str
    converter: str
    sizes: dict[str, int]
    size: int
    built: datetime.datetime
    used: datetime.datetime
    codes: int
    files: int


def data_folder(data_dir: str | None = None) -> Path:
    """Returns the folder of built data sets: `data_dir`, or TFDS's default."""
    usual = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return Path(data_dir or usual).expanduser()


def note_use(folder: Path, source: str) -> None:
    """Records beside a data set that it was opened as `source`."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError), replaced(folder / USED) as partial:  # read-only folder
        partial.write_text(json.dumps({"source": source, "time": now}))


def remove_rows(folder: Path, split: str) -> None:
    """Removes the arrays of a split, whole or partial, beside its examples in a folder."""
    for old in folder.glob(f"*{ROWS}{split}-*"):
        shutil.rmtree(old)


def list_stored(data_dir: str | None = None) -> list[Stored]:
    """Returns the data sets built by this package, sorted by name."""
    root = data_folder(data_dir)
    configs = (config for name in sorted(DATASETS) for config in sorted((root / name).glob("*")))
    return [stored for path in configs if (stored := _stored(path)) is not None]


def remove(names: Iterable[str], data_dir: str | None = None) -> Iterator[Stored]:
    """Removes data sets by name, and yields each after its removal.

    Raises:
        UserError: If a name is not in `list_stored` (then nothing is removed), or a folder cannot
            be removed.
    """
    there = {stored.name: stored for stored in list_stored(data_dir)}
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, 1, 0.4)
            hint = f"did you mean {near[0]}?" if near else "see `python -m magenta_lite.data list`"
            raise UserError(f"There is no built data set {name} in {data_folder(data_dir)}; {hint}")
    for name in names:
        try:
            shutil.rmtree(there[name].path)
            collection = there[name].path.parent
            for cache in _caches(collection):
                if not _newest_data_set(cache):
                    shutil.rmtree(cache)
            if {path.name for path in collection.iterdir()} <= {CONFIGS, file_cache.FOLDER}:
                shutil.rmtree(collection)
        except OSError as error:
            raise UserError(f"{there[name].path} cannot be removed: {error.strerror}") from error
        yield there[name]


def recorded_converter(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the converter of a data set, in the form of `building.converter_json`."""
    # Earlier versions stored it as "encoder".
    return metadata.get("converter") or metadata.get("encoder")


def _stored(path: Path) -> Stored | None:
    """Returns the data set in a folder; None if this package did not build it."""
    if path.is_symlink() or not path.is_dir():
        return None
    metadata = [_read_json(info.with_name(METADATA)) for info in path.glob(f"*/{INFO}")]
    unfinished = any(path.glob("incomplete.*"))
    codes = len(list(path.glob(f"{CODES}*")))
    converters = list(filter(None, map(recorded_converter, metadata)))
    if not converters and not unfinished and not codes:
        return None
    used: dict[str, Any] = max(
        map(_read_json, path.glob(f"*/{USED}")), key=lambda tree: tree.get("time", ""), default={}
    )
    files = _files_in(path)
    own = [cache for cache in _caches(path.parent) if _newest_data_set(cache) == path.name]
    infos = sorted(path.glob(f"*/{INFO}"))
    built = max((file.stat().st_mtime for file in infos or files), default=path.stat().st_mtime)
    return Stored(
        name=f"{path.parent.name}/{path.name}",
        path=path,
        source=used.get("source", ""),
        converter=converters[0]["kind"] if converters else "",
        sizes=_sizes(_read_json(infos[-1])) if infos else {},
        size=_size_of(files),
        built=datetime.datetime.fromtimestamp(built),
        used=_time(used.get("time")) or datetime.datetime.fromtimestamp(built),
        codes=codes,
        files=sum(_size_of(_files_in(cache)) for cache in own),
    )


def _caches(collection: Path) -> list[Path]:
    """Returns the folders of the `FileCache`s of a builder."""
    found = (collection / file_cache.FOLDER).glob(f"*/{file_cache.DATA_SETS}")
    return [path.parent for path in found]


def _newest_data_set(cache: Path) -> str:
    """Returns the config that was last built with a `FileCache`; an empty name if none is left."""
    names = reversed(file_cache.data_sets_of(cache))
    return next((name for name in names if (cache.parents[1] / name).is_dir()), "")


def _files_in(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]


def _size_of(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _time(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text).astimezone().replace(tzinfo=None) if text else None


def _sizes(info: dict[str, Any]) -> dict[str, int]:
    return {
        split["name"]: sum(map(int, split.get("shardLengths", ())))
        for split in info.get("splits", ())
    }


def _read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file; an empty one if the file is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
