"""Writing of examples: files, order and content are those of TFDS's own writer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_datasets as tfds

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import Report
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.data import building, examples, window_store
from magenta_lite.data.splitting import EncodedPiece, key_of
from magenta_lite.data.window_store import PackedFile, WindowStore, pack
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
    store = WindowStore()
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
            _add(store, EncodedPiece(name, split, made, keys, positions), number)
    store.settle(by_folder=False)
    return building.Windows(store.splits(), Report())


def _add(store: WindowStore, piece: EncodedPiece, number: int) -> None:
    (written,) = store.write(PackedFile([pack(piece)], Report(), 0, True)).pieces
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

    def closed(*_):
        raise AssertionError

    monkeypatch.setattr(examples, "write_split", closed)
    settings = {"num_shards": 3, "max_examples_per_split": 10**9}
    theirs = _built(windows, converter_config, tmp_path / "theirs", monkeypatch, **settings)
    assert _content(ours) == _content(theirs)
    assert sorted(_content(ours)) == sorted(building.SPLITS)
    assert ours.info.dataset_size == theirs.info.dataset_size
    events = [row["events"][1] for row in _content(ours)["train"][2]]
    if name == "music_transformer":
        assert max(map(max, events)) > 127


def test_split_is_the_same_in_one_part_and_in_several(tmp_path, monkeypatch):
    """Only a part of the windows is sorted at once."""
    converter_config = MelodyConverterConfig(bars=2)
    format = build_converter(converter_config).event_format
    kept = _windows(converter_config, 30).splits["train"]
    written = []
    for sorted_at_once in (2**20, 11):
        monkeypatch.setattr(window_store, "READ_BYTES", 100 * sorted_at_once)
        monkeypatch.setattr(examples, "SORTED", sorted_at_once)
        monkeypatch.setattr(window_store, "READ_ROWS", sorted_at_once)
        path = tmp_path / str(sorted_at_once)
        size = examples.write_split(kept, format, lambda _, path=path: [(path, len(kept))])
        written.append((size, path.read_bytes()))
    assert written[0] == written[1]
    assert written[0][0] == len(written[0][1]) - 16 * len(kept)


def test_two_windows_with_one_key_are_an_error(tmp_path):
    converter_config = get_config("vqvae_mini").converter
    store = WindowStore()
    for content in (b"\1\2", b"\3\4"):  # of two pieces with one name
        piece = EncodedPiece("a.wav", "train", [(content, b"", False)], [key_of(content)], [(0, 9)])
        _add(store, piece, 0)
    store.settle(by_folder=False)
    kept = store.splits()["train"]
    format = build_converter(converter_config).event_format
    with pytest.raises(ValueError, match="Two windows of train have the same key"):
        examples.write_split(kept, format, lambda _: [(tmp_path / "a", len(kept))])
