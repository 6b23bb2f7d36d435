"""The data sets that are built already: where they are, of what they are, how large, how they go.

No TensorFlow: what TFDS writes beside the examples is JSON.
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

from magenta_lite.data.specs import DATASETS
from magenta_lite.errors import UserError
from magenta_lite.files import replaced

USED = "used.json"  # beside the examples: when they were opened last, and by what name
INFO, METADATA = "dataset_info.json", "metadata.json"  # TFDS's
CONFIGS = ".config"  # TFDS's list of what is beside it
CODES = "codes-"  # begins the name of a folder of a VQ-VAE's codes


class Stored(NamedTuple):
    """The data set of one collection in one encoding.

    Attributes:
        name: BUILDER/CONFIG, as in `tfds:NAME`.
        path: Its folder, with all versions, and the codes that VQ-VAEs made of it.
        source: The folder or name that it was opened by last; empty where that is not known.
        converter: Kind of its converter; empty if it was never finished.
        sizes: Examples of each split.
        size: Bytes on the disk.
        built: When.
        used: When it was opened last.
        codes: How many VQ-VAEs made codes of it.
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


def data_folder(data_dir: str | None = None) -> Path:
    """Returns where built data sets are kept; as TFDS has it unless `data_dir` says otherwise."""
    usual = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return Path(data_dir or usual).expanduser()


def note_use(folder: Path, source: str) -> None:
    """Writes down beside a data set that it was opened as `source`."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError), replaced(folder / USED) as partial:  # it may be read only
        partial.write_text(json.dumps({"source": source, "time": now}))


def list_stored(data_dir: str | None = None) -> list[Stored]:
    """Returns the data sets of this package's builders, in order of their names."""
    root = data_folder(data_dir)
    configs = (config for name in sorted(DATASETS) for config in sorted((root / name).glob("*")))
    return [stored for path in configs if (stored := _stored(path)) is not None]


def remove(names: Iterable[str], data_dir: str | None = None) -> Iterator[Stored]:
    """Removes data sets by their names, and yields each when it is gone.

    Raises:
        UserError: If one of the names is none of `list_stored` (then all are still there), or a
            folder cannot be removed.
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
            if {path.name for path in collection.iterdir()} <= {CONFIGS}:
                shutil.rmtree(collection)
        except OSError as error:
            raise UserError(f"{there[name].path} cannot be removed: {error.strerror}") from error
        yield there[name]


def recorded_converter(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the converter of a data set, as `building.converter_json` gives it."""
    # Earlier versions wrote it as "encoder".
    return metadata.get("converter") or metadata.get("encoder")


def _stored(path: Path) -> Stored | None:
    """Returns what is in a folder of our builders; None if it is not from them."""
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
    files = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    infos = sorted(path.glob(f"*/{INFO}"))
    built = max((file.stat().st_mtime for file in infos or files), default=path.stat().st_mtime)
    return Stored(
        name=f"{path.parent.name}/{path.name}",
        path=path,
        source=used.get("source", ""),
        converter=converters[0]["kind"] if converters else "",
        sizes=_sizes(_read_json(infos[-1])) if infos else {},
        size=sum(file.stat().st_size for file in files),
        built=datetime.datetime.fromtimestamp(built),
        used=_time(used.get("time")) or datetime.datetime.fromtimestamp(built),
        codes=codes,
    )


def _time(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text).astimezone().replace(tzinfo=None) if text else None


def _sizes(info: dict[str, Any]) -> dict[str, int]:
    return {
        split["name"]: sum(map(int, split.get("shardLengths", ())))
        for split in info.get("splits", ())
    }


def _read_json(path: Path) -> dict[str, Any]:
    """Returns what is in a file; nothing if it is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
