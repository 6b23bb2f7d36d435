"""Pieces of sound as a trained model encodes them, e.g. as codes of a VQ-VAE; cached on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.converters.audio import pieces
from magenta_lite.converters.base import Report
from magenta_lite.data import building, progress, stored
from magenta_lite.data.collections import Collection
from magenta_lite.errors import unknown_name
from magenta_lite.files import replaced
from magenta_lite.locks import locked
from magenta_lite.modeling.examples import Examples
from magenta_lite.modeling.family import EncodedPiece, Facts, PieceEncoder

SHARD = 64  # pieces in a file

MakeExamples = Callable[[Iterable[EncodedPiece], Facts, Report], Examples]


class EncodedCollection:
    """A collection of encoded sound.

    Args:
        sound: The collection of sound.
        folder: Folder of its encoded pieces.
        make_examples: Returns the examples of encoded pieces; see `EncodedData.examples`.
    """

    def __init__(self, sound: Collection, folder: Path, make_examples: MakeExamples):
        self._sound, self._folder, self._make_examples = sound, folder, make_examples
        self._loaded: dict[str, Examples] = {}
        self.name = f"{sound.name}, {folder.name}"
        self.report = Report()

    @property
    def sizes(self) -> dict[str, int]:
        """Examples of each split."""
        return {name: len(self.split(name)) for name in building.SPLITS}

    def split(self, name: str) -> Examples:
        """Returns the examples of a split.

        Raises:
            UserError: If there is no split `name`.
        """
        if name not in building.SPLITS:
            raise unknown_name("split", name, building.SPLITS)
        if name not in self._loaded:
            encoded = _read(self._folder, name)
            self._loaded[name] = self._make_examples(encoded, self._sound.facts, self.report)
        return self._loaded[name]


def open_encoded(
    sound: Collection, encoder: PieceEncoder, make_examples: MakeExamples
) -> EncodedCollection:
    """Returns a collection of sound in an encoding, and encodes it if necessary.

    The arrays are stored beside the data set of sound, once for each encoder. Interrupted encoding
    resumes after the last complete file. Another process that encodes the same is waited for.

    Args:
        sound: The collection of sound.
        encoder: Encodes the pieces.
        make_examples: Returns the examples of encoded pieces; see `EncodedData.examples`.
    """
    folder = sound.folder.parent / f"{stored.CODES}{encoder.fingerprint}"
    if not all(_index(folder, split).is_file() for split in building.SPLITS):
        message = f"Waiting for {{holder}}, which encodes {sound.name}"
        with locked(folder / ".lock", message, "--data_dir", progress.say):
            for split in building.SPLITS:
                _encode(encoder, sound, split, folder)
    return EncodedCollection(sound, folder, make_examples)


def _index(folder: Path, split: str) -> Path:
    return folder / f"{split}.json"


def _encode(encoder: PieceEncoder, sound: Collection, split: str, folder: Path) -> None:
    """Encodes a split of a collection of sound into files of `SHARD` pieces each."""
    index = _index(folder, split)  # written last
    if index.is_file():
        return
    names = sorted(set(sound.split(split).pieces or ()))
    began = printed = time.monotonic()
    done, shard = 0, []
    for number, (name, samples) in enumerate(pieces(sound.split(split)) if names else ()):
        path = folder / f"{split}-{number // SHARD:05}.npz"
        if not path.is_file():
            shard.append((name, encoder.encode(samples)))
            done += len(samples)
            if number % SHARD == SHARD - 1 or number == len(names) - 1:
                _write_shard(path, shard)
                shard = []
        if time.monotonic() - printed > progress.PROGRESS_SECONDS:
            printed = time.monotonic()
            progress.say(
                f"Encoding {split}: {number + 1} of {len(names)} pieces, "
                f"{done / encoder.sample_rate / (printed - began):.1f} s of sound a second"
            )
    with replaced(index) as partial:
        partial.write_text(json.dumps({"shards": -(-len(names) // SHARD)}))


def _write_shard(path: Path, shard: list[EncodedPiece]) -> None:
    arrays: dict[str, Any] = {
        f"{i}/{number}": array
        for i, (_, encoded) in enumerate(shard)
        for number, array in enumerate(encoded)
    }
    with replaced(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, names=np.array([name for name, _ in shard]), **arrays)


def _read(folder: Path, split: str) -> Iterator[EncodedPiece]:
    """Yields the encoded pieces of a split."""
    for number in range(json.loads(_index(folder, split).read_text())["shards"]):
        with np.load(folder / f"{split}-{number:05}.npz") as arrays:
            count = len({name.partition("/")[2] for name in arrays.files if "/" in name})
            for i, name in enumerate(arrays["names"]):
                yield str(name), [arrays[f"{i}/{number}"] for number in range(count)]
