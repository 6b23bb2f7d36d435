"""Every encoding of every collection builds to the same examples as before, on small samples.

What is expected is in `equal_builds.json`, which was written before the code changed. Where the
examples of a collection change on purpose, this command rewrites it, and CHANGELOG.md says why:

    python tests/data/test_equal_builds.py
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import note_seq
import numpy as np
import pytest
from bands import band

from magenta_lite.config import config_names, get_config
from magenta_lite.data import building, folk, reading, wad
from magenta_lite.data.specs import DATASETS

TESTS = Path(__file__).parents[1]
EXPECTED = TESTS / "data" / "equal_builds.json"
DUMMY = TESTS.parent / "tfds_datasets"
COPIES = {  # places in the dummy data
    "groove_midi": "groove",
    "maestro_midi": "maestro-v3.0.0",
    "jsb_chorales": "Jsb16thSeparated.json",
}
# Samples of music21's corpus and folders of music, besides the dummy data.
CORPUS = ("bach_chorales", "folk", "arranged", "rendered")
CORPUS_FILES = ("0626-0635.abc", "0721-0730.abc", "bwv1.6.mxl", "bwv269.mxl", "bwv86.6.mxl")
FOLDERS = {"cases": TESTS / "cases", "musenet": TESTS / "golden" / "musenet" / "encode"}
BANDS = 3

COLLECTIONS = (
    *(f"{name} {part}".strip() for name, spec in DATASETS.items() for part in spec.parts),
    *(f"{name} of music21" for name in CORPUS),
    *(f"midi_dir of {name}" for name in (*FOLDERS, "bands")),
)


def _encodings(name: str, part: str) -> dict[str, Any]:
    """Returns converter sections by the name of their encoding or of a configuration.

    These are the encodings that can be built by name, and those of the configurations whose
    default is this part of a collection; for a folder of music, all encodings of notes.
    """
    spec = DATASETS[name]
    found = {encoding: spec.encodings[encoding] for encoding in spec.part(part).encodings}
    source = f"{name}:{part}".rstrip(":")
    for config in map(get_config, config_names()):
        of_notes = config.converter.kind not in ("audio", "codes")
        chosen = of_notes if name == "midi_dir" else config.data.source == source
        if chosen and config.converter not in found.values():
            found[config.name] = config.converter
    return found


@contextlib.contextmanager
def _sample(name: str, part: str, place: str) -> Iterator[tuple[Any, Any]]:
    """Lists the sources of a collection that are in one place, by default in the dummy data."""
    list_sources, dummy = DATASETS[name].list_sources, DUMMY / name / "dummy_data"
    with tempfile.TemporaryDirectory() as folder:
        if place == "music21":
            sources, listing = list_sources(part)
            yield [source for source in sources if source.name in CORPUS_FILES], listing
        elif place == "bands":
            for i in range(BANDS):
                path = Path(folder, f"{i}.mid")
                note_seq.sequence_proto_to_midi_file(band(random.Random(i)), path)
            yield list_sources(folder)
        elif place:
            yield list_sources(str(FOLDERS[place]))
        elif DATASETS[name].argument == "folder" or name in COPIES:
            yield list_sources(str(dummy / COPIES.get(name, "")))
        else:
            with (
                mock.patch.object(folk, "corpus_folder", lambda: dummy),
                mock.patch.object(wad, "INSTALLED_FOLDER", dummy),
            ):
                yield list_sources(part)


def _built(collection: str) -> dict[str, str]:
    """Returns the sizes and the hashes of the splits by the name of the encoding."""
    known, _, place = collection.partition(" of ")
    name, _, part = known.partition(" ")
    with (
        _sample(name, part, place) as sample,
        mock.patch.object(building, "SERIAL_SECONDS", float("inf")),  # without worker processes
        mock.patch.object(reading.Source, "is_quick", True),
    ):
        return {
            encoding: _in_words(building.build(*sample, config).splits, config)
            for encoding, config in _encodings(name, part).items()
        }


def _in_words(splits: Any, config: Any) -> str:
    """Returns the size of each split and a hash of its examples, whose order does not matter."""
    described = []
    for name, windows in splits.items():
        examples = sorted(_example(window, config) for window in windows)
        found = hashlib.sha256(b"\n".join(examples)).hexdigest()[:12]
        described.append(f"{name} {len(examples)} {found}" if examples else f"{name} 0")
    return ", ".join(described)


def _example(window: Any, config: Any) -> bytes:
    """Returns the piece, the place and the events of an example as bytes."""
    events, controls = building.arrays(window.events, window.controls, config)
    if config.kind == "audio":
        # The last bits of samples depend on the processor; their mean in percent does not.
        events = np.array([len(events), np.round(100 * np.abs(events / 2**15).mean())], np.int64)
    parts = [window.piece, window.position, events.shape, str(events.dtype)]
    content = events.tobytes() + (b"" if controls is None else controls.tobytes())
    return repr(parts).encode() + content


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_examples_are_those_of_before(collection):
    assert _built(collection) == json.loads(EXPECTED.read_text("utf-8"))[collection]


def test_samples_have_examples_of_every_encoding():
    expected = json.loads(EXPECTED.read_text("utf-8"))
    found = {
        encoding
        for built in expected.values()
        for encoding, splits in built.items()
        if not splits.startswith("train 0")
    }
    assert found == {encoding for built in expected.values() for encoding in built}
    assert found >= {encoding for spec in DATASETS.values() for encoding in spec.encodings}


if __name__ == "__main__":
    built = {collection: _built(collection) for collection in COLLECTIONS}
    EXPECTED.write_text(json.dumps(built, indent=1) + "\n", encoding="utf-8")
