"""Writing of examples: files, order and content are those of TFDS's own writer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EventFormat, Report
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.data import building, examples, window_store
from magenta_lite.data.splitting import EncodedPiece, key_of
from magenta_lite.data.window_store import PackedFile, WindowStore, pack
from tfds_datasets.collection_builder import CollectionBuilder
from tfds_datasets.midi_dir import midi_dir_dataset_builder

CONFIGS = (
    "cat-mel_2bar",  # uint8
    "cat-mel_2bar_med_chords",
    "music_transformer",  # uint16
    "cat-trio_16bar",  # (T, 3)
    "cat-drums_2bar",
    "groovae_4bar",  # float32
    "vqvae_mini",  # int16 with positions
)


def _windows(converter_config, pieces: int = 9) -> building.Windows:
    """Returns random windows of pieces of which each has one in every split."""
    format = build_converter(converter_config).event_format
    store = WindowStore(format)
    rng = np.random.default_rng(0)
    for number in range(pieces):
        for split in building.SPLITS:
            made, positions = [], []
            for i in range(int(rng.integers(1, 7))):
                shape = (rng.integers(1, 300), *format.event_shape)
                events = rng.random(shape)
                if format.kind != "groove":
                    events = events * min(format.sizes) if format.kind != "audio" else events * 9e4
                events = events.astype(np.int64 if format.kind == "audio" else float)
                controls = b""
                if format.control == "chords":
                    controls = rng.integers(0, 49, len(events)).astype(np.uint8).tobytes()
                made.append((events.astype(format.event_dtype).tobytes(), controls, False))
                positions.append((1000 * i, 50_000 * number + 7))
            name = f"Häuser {number}.mid#{split}"
            keys = [key_of(events + controls) for events, controls, _ in made]
            if format.kind != "audio":
                positions = None
            _add(store, EncodedPiece(name, split, made, keys, positions), number, format)
    store.settle(by_folder=False)
    return building.Windows(store.splits(), Report())


def _add(store: WindowStore, piece: EncodedPiece, number: int, format: EventFormat) -> None:
    (written,) = store.write(PackedFile([pack(piece, format)], Report(), 0, True)).pieces
    store.add(written, number)


def _built(windows, converter_config, data_dir, monkeypatch, **settings):
    builder_class = midi_dir_dataset_builder.Builder
    config = builder_class._config("", converter_config)
    config.name, config.argument = "test", "nowhere"
    monkeypatch.setattr(builder_class, "_build", lambda *_: windows)
    builder = builder_class(data_dir=data_dir, config=config)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(**settings))
    return builder


def _content(builder) -> dict[str, list]:
    """Returns the files of each split, and all features of the examples in their order."""
    content = {}
    for name, info in builder.info.splits.items():
        data = builder.as_dataset(split=name).as_numpy_iterator()
        rows = [
            {
                key: (str(np.asarray(value).dtype), np.asarray(value).tolist())
                for key, value in x.items()
            }
            for x in data
        ]
        content[name] = [info.shard_lengths, info.filenames, rows]
    return content


@pytest.mark.parametrize("name", CONFIGS)
def test_examples_are_those_of_the_writer_of_tfds(name, tmp_path, monkeypatch):
    converter_config = get_config(name).converter
    windows = _windows(converter_config)
    ours = _built(windows, converter_config, tmp_path / "ours", monkeypatch, num_shards=3)

    monkeypatch.setattr(CollectionBuilder, "_write_split", None)
    settings = {"num_shards": 3, "max_examples_per_split": 10**9}
    theirs = _built(windows, converter_config, tmp_path / "theirs", monkeypatch, **settings)
    assert _content(ours) == _content(theirs)
    assert sorted(_content(ours)) == sorted(building.SPLITS)
    assert ours.info.dataset_size == theirs.info.dataset_size
    events = [row["events"][1] for row in _content(ours)["train"][2]]
    if name == "music_transformer":
        assert max(map(max, events)) > 127


def test_split_is_the_same_in_one_part_and_in_several(monkeypatch):
    """Only a part of the windows is sorted at once."""
    kept = _windows(MelodyConverterConfig(bars=2), 30).splits
    written = []
    for rows in (2**20, 11):
        monkeypatch.setattr(window_store, "READ_BYTES", 100 * rows)
        monkeypatch.setattr(window_store, "PART_ROWS", rows)
        monkeypatch.setattr(window_store, "READ_ROWS", rows)
        written.append({split: list(windows.records()) for split, windows in kept.items()})
    assert written[0] == written[1]
    for split, records in written[0].items():
        assert len(records) == len(kept[split]) > 11
        assert sum(map(len, records)) == kept[split].bytes + 16 * len(records)


def test_two_windows_with_one_key_are_an_error():
    format = build_converter(get_config("vqvae_mini").converter).event_format
    store = WindowStore(format)
    for content in (b"\1\2", b"\3\4"):  # of two pieces with one name
        piece = EncodedPiece("a.wav", "train", [(content, b"", False)], [key_of(content)], [(0, 9)])
        _add(store, piece, 0, format)
    store.settle(by_folder=False)
    with pytest.raises(ValueError, match="Two windows of train have the same key"):
        list(store.splits()["train"].records())


@pytest.mark.parametrize("itemsize", [1, 2, 8])
def test_varints_are_those_of_protocol_buffers(itemsize):
    assert examples.varints(np.array([150], f"u{itemsize}").tobytes(), itemsize) == b"\x96\x01"
    edges = [0, 1, 127, 128, 255, 256, 2**14 - 1, 2**14, 2**16 - 1, 2**35, 2**64 - 1]
    numbers = [number for number in edges if number < 2 ** (8 * itemsize)]
    packed = np.array(numbers, f"u{itemsize}").tobytes()
    expected = tf.train.Int64List(value=np.array(numbers, "u8").view("i8"))
    encoded = examples.varints(packed, itemsize)
    assert expected.SerializeToString().endswith(encoded)
    assert examples.numbers_of(encoded, itemsize) == packed
    assert examples.varints(b"", itemsize) == examples.numbers_of(b"", itemsize) == b""
