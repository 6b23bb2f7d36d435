"""Hashes of the content of sources, by which data sets and encoded files are found again."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterable

from magenta_lite.data import reading, splitting

HASHED_WHOLE = 64 * 2**20  # bytes; of larger files this much is hashed, in evenly spaced blocks
HASHED_BLOCK = 2**20


def fingerprint(sources: Iterable[reading.Source], more: str = "") -> str:
    """Returns a short hash of the content of `sources`, independent of where the folder is.

    Args:
        sources: The files; the hash covers their content and their paths below the folder.
        more: Other text to include in the hash.
    """
    digest = hashlib.sha256(more.encode(errors="replace"))
    contents: dict[str, str] = {}
    for source in sorted(sources, key=lambda source: (source.name, source.member)):
        if source.path not in contents:
            contents[source.path] = _content_hash(source.path, *_size_and_time(source.path))
        fields = (source.name, source.member, source.split, source.style, contents[source.path])
        digest.update("\0".join(fields).encode(errors="replace") + b"\n")
    return digest.hexdigest()[:12]


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=2**18)
def _content_hash(path: str, size: int, time: int) -> str:
    """Returns a hash of a file's content, or the error message if the file cannot be read.

    `size` and `time` are keys of the cache: a changed file is hashed again.
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256(b"%d " % size)
            blocks = -(-min(size, HASHED_WHOLE) // HASHED_BLOCK)
            for i in range(blocks):
                # Covers a small file completely; spaces the blocks of a larger one evenly.
                file.seek(i * max(size - HASHED_BLOCK, 0) // max(blocks - 1, 1))
                digest.update(file.read(HASHED_BLOCK))
    except OSError as error:
        return error.strerror or type(error).__name__
    return digest.hexdigest()


def key_of(source: reading.Source) -> bytes:
    """Returns a hash of what a source is read to, besides the code: its content and its fields."""
    content = _content_hash(source.path, *_size_and_time(source.path))
    fields = repr(dataclasses.replace(source, path=""))
    return splitting.key_of(fields.encode(errors="surrogatepass"), content.encode())
