"""What XLA compiles for CPUs stays on disk, so that a command compiles only at its first start.

The folder is `magenta_lite/xla` of the user's caches (`XDG_CACHE_HOME`, or `~/.cache`). Another one
can be set in `TF_XLA_FLAGS` as `--tf_xla_persistent_cache_directory`; an empty name is for none.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

FLAG = "--tf_xla_persistent_cache_directory"
LARGEST = 100_000_000  # bytes of all files, which each start reads
LEAST_FREE = 1_000_000_000  # bytes; TensorFlow ends a computation if it cannot write to the cache


def use_compilation_cache() -> None:
    """Tells XLA to use the cache; TensorFlow reads that when it is imported."""
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if FLAG in flags:
        return
    try:
        folder = _prepared(_cache_folder())
    except OSError:  # such as a read-only home: every start compiles
        return
    if shutil.disk_usage(folder).free < LEAST_FREE or " " in str(folder):  # blanks separate flags
        return
    only_cpu = "--tf_xla_persistent_cache_device_types=CPU"
    os.environ["TF_XLA_FLAGS"] = f"{flags} {FLAG}={folder} {only_cpu}".strip()


def _cache_folder() -> Path:
    """Returns a folder for this processor, this TensorFlow and these settings of its compiler."""
    parts = [
        importlib.metadata.version("tensorflow"),
        platform.machine(),
        _processor(),
        os.environ.get("XLA_FLAGS", ""),
    ]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "magenta_lite" / "xla" / key


def _processor() -> str:
    """Returns the features of the processor, for which the code is compiled."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    of_features = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(of_features)}))


def _prepared(folder: Path) -> Path:
    """Makes the folder, and removes damaged files and the oldest ones of too many."""
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.message import DecodeError

    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".writable").touch()  # raises if nothing can be written there
    files = [path for path in folder.glob("*.pb") if path.is_file()]
    files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    size = 0
    for path in files:
        size += path.stat().st_size
        try:
            # TensorFlow would end the computation for a file that a power failure has cut off.
            Empty.FromString(path.read_bytes())
            is_usable = size <= LARGEST and path.stat().st_size > 0
        except DecodeError:
            is_usable = False
        if not is_usable:
            path.unlink(missing_ok=True)
    return folder
