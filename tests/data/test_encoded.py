"""Pieces of sound that a model encodes: once, on disk, and on after an interruption."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from magenta_lite.converters.base import Report
from magenta_lite.data import encoded
from magenta_lite.data.encoded import open_encoded
from magenta_lite.errors import UserError
from magenta_lite.locks import Lock
from magenta_lite.modeling.examples import Examples

LENGTHS = {"train": {"a": 6, "b": 4, "c": 5}, "validation": {"d": 3}, "test": {}}


class Sound:
    """A collection of pieces of the samples 0, 1, 2 …, and their names as facts."""

    name = "sound/1.0.0"

    def __init__(self, folder):
        self.folder = folder / "1.0.0"
        self.facts = {name: {"artist": name} for name in "abcd"}

    def split(self, name):
        lengths = np.array(list(LENGTHS[name].values()), np.int32)
        events = np.tile(np.arange(6, dtype=np.int16)[:, None], (len(lengths), 1, 1))
        positions = np.array([[0, length] for length in lengths]).reshape(-1, 2)
        return Examples(events, lengths, list(LENGTHS[name]), positions=positions)


class Doubling:
    """Encodes a piece as its doubled samples, until `last` pieces are encoded."""

    fingerprint, sample_rate = "abc", 4000

    def __init__(self, last=100):
        self.encoded, self.last = [], last

    def encode(self, sound):
        if len(self.encoded) == self.last:
            raise KeyboardInterrupt
        self.encoded.append(len(sound))
        return [2 * sound[:, 0], sound[:1, 0]]


def make_examples(pieces, facts, report):
    pieces = list(pieces)
    report.keep("pieces", len(pieces))
    artists = [facts[name]["artist"] for name, _ in pieces]
    events = np.array([arrays[0][2] for _, arrays in pieces])
    return Examples(events, np.array([len(arrays[0]) for _, arrays in pieces]), artists)


def test_pieces_are_encoded_once_and_after_an_interruption_only_those_that_are_missing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(encoded, "SHARD", 2)
    with pytest.raises(KeyboardInterrupt):
        open_encoded(Sound(tmp_path), Doubling(last=2), make_examples)
    assert [path.name for path in (tmp_path / "codes-abc").iterdir()] == ["train-00000.npz"]
    encoder = Doubling()
    collection = open_encoded(Sound(tmp_path), encoder, make_examples)
    assert encoder.encoded == [5, 3]
    assert collection.sizes == {"train": 3, "validation": 1, "test": 0}
    train = collection.split("train")
    assert (train.pieces, train.lengths.tolist()) == (["a", "b", "c"], [6, 4, 5])
    assert train.events.tolist() == [4, 4, 4] and collection.name == "sound/1.0.0, codes-abc"
    assert isinstance(collection.report, Report) and collection.report.kept["pieces"] == 4
    again = Doubling()
    open_encoded(Sound(tmp_path), again, make_examples)
    assert again.encoded == []
    with pytest.raises(UserError, match=r"Unknown split 'trian'\. Did you mean train"):
        collection.split("trian")


def test_another_process_that_encodes_the_same_is_waited_for(tmp_path, capsys):
    folder = tmp_path / "codes-abc"
    folder.mkdir()
    other = Lock(folder / ".lock")
    assert other.acquire()
    threading.Timer(0.2, other.release).start()
    open_encoded(Sound(tmp_path), Doubling(), make_examples)
    assert not other.held
    assert (
        f"Waiting for process {os.getpid()}, which encodes sound/1.0.0" in capsys.readouterr().err
    )
    assert not (folder / ".lock").exists()
