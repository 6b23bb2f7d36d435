"""Splitting, removing what repeats, progress and worker processes; no TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil

import numpy as np
import outlines
import pytest
from bad_files import write_good_files
from note_seq.protobuf.music_pb2 import NoteSequence

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import Reason, Report
from magenta_lite.converters.drums import DrumsConverterConfig
from magenta_lite.converters.groove import GrooveConverterConfig
from magenta_lite.converters.melody import MelodyConverter, MelodyConverterConfig
from magenta_lite.converters.multi_performance import MultiPerformanceConverterConfig
from magenta_lite.converters.trio import TrioConverterConfig
from magenta_lite.data import (
    building,
    contents,
    listing,
    progress,
    reading,
    splitting,
    summaries,
    window_store,
)
from magenta_lite.data.specs import DATASETS
from magenta_lite.data.splitting import EncodedPiece, Window
from magenta_lite.data.window_store import WindowStore, pack
from magenta_lite.errors import UserError

CONFIG = MelodyConverterConfig(bars=2)
CONVERTER = MelodyConverter(CONFIG)


def _window(events: list[int], piece: str = "a") -> Window:
    return Window(piece, np.array(events, np.uint8).tobytes())


def _settled(windows: dict[str, list[Window]]) -> tuple[list[Window], Report]:
    """Returns which windows by split, all with the same key, are stored, and the report."""
    pairs = [(split, window) for split, of_split in windows.items() for window in of_split]
    store = WindowStore(CONVERTER.event_format)
    for number, (split, window) in enumerate(pairs):
        example = window.events, window.controls, window.train_only
        store.add(
            pack(EncodedPiece(window.piece, split, [example], [bytes(16)]), CONVERTER.event_format),
            number,
        )
    report = store.settle(by_folder=False)
    kept = [stored.all() for _, stored in store.decisions()]
    return [window for (_, window), stored in zip(pairs, kept, strict=True) if stored], report


def test_transposed_windows_share_a_key_and_others_do_not():
    def key(events):
        return CONVERTER.transposition_key(np.array(events, np.uint8))

    assert key([0, 40, 1, 45]) == key([0, 45, 1, 50]) == key([0, 2, 1, 7])
    assert key([0, 40, 1, 45]) != key([0, 40, 1, 46])
    assert key([0, 40, 1, 45]) != key([1, 40, 1, 45])
    assert key([0, 1, 0, 0]) != key([0, 0, 0, 0])


def _outline(name: str) -> outlines.Piece:
    """Returns a piece with a window of its own."""
    return outlines.made_up(name, [splitting.piece_hash(name)])


def _splits(names) -> list[str]:
    """Returns the split of each of different pieces of these names."""
    made = list(map(_outline, names))
    assigned = outlines.assign(made)
    return [assigned[piece.content] for piece in made]


def test_pieces_keep_their_split_when_others_are_added():
    names = [f"{i}.mid" for i in range(2000)]
    before = _splits(names[:1000])
    assert before == _splits(names)[:1000]
    assert 20 < before.count("test") < 80
    assert 20 < before.count("validation") < 80


@pytest.mark.parametrize(
    ("pieces", "validation", "test"),
    [
        (0, (0, 0), (0, 0)),
        (1, (0, 0), (0, 0)),
        (2, (0, 0), (0, 0)),
        (3, (1, 1), (0, 0)),
        (5, (1, 1), (0, 0)),
        (6, (1, 1), (1, 1)),
        (10, (1, 1), (1, 1)),
        (20, (1, 2), (1, 2)),
        (50, (1, 5), (1, 5)),
        (400, (10, 40), (10, 40)),
    ],
)
def test_a_small_collection_holds_out_a_sensible_share(pieces, validation, test):
    for collection in range(50):
        splits = _splits(f"{collection}/{i}" for i in range(pieces))
        assert validation[0] <= splits.count("validation") <= validation[1]
        assert test[0] <= splits.count("test") <= test[1]


def _piece(name: str, music: int, transpose: int = 0) -> EncodedPiece:
    events = np.array([40 + music % 7, 1, 45 + music // 7, 0], np.uint8)
    events[[0, 2]] += transpose
    example = events.tobytes()
    key = CONVERTER.transposition_key(events)
    return EncodedPiece(name, "", [(example, b"", False)], [key])


def test_copies_are_in_the_split_of_one_of_them():
    one, other = _piece("a.mid", 1), _piece("b.mid", 2)
    copies = [one, _piece("copy.mid", 1), _piece("in another key.mid", 1, transpose=5), other]
    made = list(map(outlines.encoded, copies))
    assert [piece.content for piece in made] == [one.content] * 3 + [other.content]
    others = [_outline(f"{i}.mid") for i in range(100)]
    assigned = outlines.assign(made + others)
    assert len(assigned) == 102
    represents = min(made[:3], key=lambda piece: piece.outline.order)
    assert assigned[one.content] == outlines.assign([represents, *others])[one.content]


def test_pieces_are_held_out_after_copies_are_removed(tmp_path):
    paths = write_good_files(tmp_path, 30)
    for path in paths[:20]:
        for copy in range(4):
            shutil.copy(path, tmp_path / f"{path.stem} ({copy}).mid")
    windows = building.build(*listing.list_sources(tmp_path), MelodyConverterConfig(bars=2))
    pieces = {
        split: {window.piece.split(" ")[0].removesuffix(".mid") for window in kept}
        for split, kept in windows.splits.items()
    }
    assert 1 <= len(pieces["validation"]) <= 3
    assert 1 <= len(pieces["test"]) <= 3
    assert not pieces["train"] & (pieces["validation"] | pieces["test"])
    assert windows.report.files.kept["files"] == 30
    assert windows.report.files.dropped == {building.SAME_MUSIC: 80}


def test_few_pieces_say_that_their_numbers_mean_little():
    assert "is one piece:" in splitting.few_held_out("validation", ["a", "a"])
    assert "is 4 pieces:" in splitting.few_held_out("test", ["a", "b", "c", "d"])
    assert not splitting.few_held_out("test", ["a", "b", "c", "d", "e"])
    assert not splitting.few_held_out("test", None)


def test_a_fingerprint_is_that_of_the_content_wherever_it_lies(tmp_path):
    def fingerprint(folder):
        return contents.fingerprint(listing.list_sources(folder)[0])

    write_good_files(tmp_path / "music", 3)
    before = fingerprint(tmp_path / "music")
    moved = (tmp_path / "music").rename(tmp_path / "renamed")
    assert fingerprint(moved) == before
    os.utime(moved / "good_001.mid", (1, 1))
    assert fingerprint(moved) == before
    data = bytearray((moved / "good_001.mid").read_bytes())
    data[-20] ^= 1
    (moved / "good_001.mid").write_bytes(data)
    assert fingerprint(moved) != before


def test_a_data_set_is_another_one_with_other_styles_labels_or_groups(tmp_path):
    def name(what, by_folder=False):
        spec = DATASETS[what]
        sources, _ = spec.list_sources(str(tmp_path))
        converter = next(iter(spec.encodings.values()))
        return spec.config_name(str(tmp_path), converter, by_folder, sources)

    write_good_files(tmp_path, 2)
    (tmp_path / "a.wav").write_bytes(b"sound")
    tables = {
        "midi_dir": ("styles.csv", ("good_000.mid,jazz\n", "good_000.mid,waltz\n")),
        "audio_dir": ("labels.csv", ("file,artist\na.wav,Me\n", "file,artist\na.wav,You\n")),
    }
    for what, (table, texts) in tables.items():
        names = {name(what), name(what, by_folder=True)}
        for content in texts:
            (tmp_path / table).write_text(content)
            names.add(name(what))
        (tmp_path / table).unlink()
        assert len(names) == 4
        assert name(what) in names
    (tmp_path / "a.json").write_text('{"lyrics": "La la"}')
    sung = name("audio_dir")
    (tmp_path / "a.json").write_text('{"lyrics": "Hum hum"}')
    assert name("audio_dir") != sung


def test_a_large_file_is_hashed_in_blocks_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "HASHED_WHOLE", 40)
    monkeypatch.setattr(contents, "HASHED_BLOCK", 10)
    path = tmp_path / "a.wav"
    hashes = set()
    for changed in (None, 0, 9, 990, 999):
        data = bytearray(1000)
        if changed is not None:
            data[changed] = 1
        path.write_bytes(data)
        hashes.add(contents._content_hash(str(path), 1000, len(hashes)))
    assert len(hashes) == 5
    assert contents._content_hash(str(tmp_path / "no.wav"), 0, 0) == "No such file or directory"


def test_training_wins_over_test_and_test_over_validation():
    first, second, third = (_window([40 + i, 0]) for i in range(3))
    kept, report = _settled({"validation": [first], "test": [second], "train": [third]})
    assert kept == [third]
    assert report.dropped == {
        "validation window that train has too, in some key": 1,
        "test window that train has too, in some key": 1,
    }
    assert _settled({"validation": [first], "test": [second]})[0] == [second]


def test_equal_windows_of_one_split_are_stored_once_and_transposed_ones_both():
    windows = [_window([40, 0], "b"), _window([41, 0]), _window([40, 0])]
    kept, report = _settled({"train": windows})
    assert kept == windows[:2]
    assert report.dropped == {"same window again in the split": 1}


def test_nothing_to_train_on_shows_the_report():
    report = Report()
    report.drop("bar is not 4/4", "waltz.mid", 3)
    with pytest.raises(
        UserError, match=r"(?s)my_midi gives nothing.*left out:\n +3 bar is not 4/4"
    ):
        summaries.check_usable({"test": 4}, report, "my_midi")


def test_converter_names_differ_with_every_value():
    names = {
        building.converter_name(MelodyConverterConfig(**values))
        for values in ({}, {"bars": 4}, {"programs": (0, 31)}, {"gap_bars": 2.0})
    }
    assert len(names) == 4


# Names of built data sets contain them: a different name would build the data set again.
CONVERTER_NAMES = {
    "cat-mel_2bar": "melody_611996ff25",
    "cat-mel_2bar_med_chords": "melody_49126c5b0a",
    "cat-drums_2bar": "drums_f50452d26b",
    "cat-trio_16bar": "trio_7e92ed2ae0",
    "hier-multiperf_vel_1bar_med": "multi_performance_9888c81ca6",
    "groovae_4bar": "groove_3691732f24",
    "groovae_2bar_humanize": "groove_e094bbfcac",
    "groovae_2bar_tap_fixed_velocity_note_dropout": "groove_e094bbfcac",
    "groovae_2bar_add_closed_hh": "groove_e094bbfcac",
    "groovae_2bar_hits_control": "groove_e094bbfcac",
    "basic_rnn": "event_melody_d3b0a32d44",
    "lookback_rnn": "event_melody_d3b0a32d44",
    "attention_rnn": "event_melody_d3b0a32d44",
    "mono_rnn": "event_melody_06ebb4ff8e",
    "chord_pitches_improv": "event_melody_20caad9a66",
    "drum_kit_rnn": "event_drums_6a94429169",
    "performance_with_dynamics": "event_performance_a45d031e52",
    "music_transformer": "performance_bb8c489728",
    "music_transformer_16": "performance_966593c065",
    "music_transformer_jsb": "chorale_6d7600274e",
    "music_transformer_melody": "melody_performance_70be5fac79",
    "musenet_small": "musenet_tokens_c066c67d48",
    "vqvae_mini": "audio_04d63d0264",
    "jukebox_prior_mini": "codes_4e6c04b333",
}


def test_converter_names_are_those_of_earlier_versions():
    names = {name: building.converter_name(get_config(name).converter) for name in CONVERTER_NAMES}
    assert names == CONVERTER_NAMES
    former = ["converter.places_by_time=false", "converter.merge_doubled=false"]
    former = get_config("musenet_small", former).converter
    assert building.converter_name(former) == "musenet_tokens_6ae49e2530"


def test_workers_give_what_one_process_gives(tmp_path, monkeypatch, folk_dummy):
    sources, listing = folk_dummy
    alone = building.build(sources, listing, CONFIG)
    monkeypatch.setattr(building, "SERIAL_SECONDS", 0.0)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.05)
    together = building.build(sources, listing, CONFIG)
    for split in building.SPLITS:
        assert list(together.splits[split]) == list(alone.splits[split])
    assert together.report.to_json() == alone.report.to_json()


def test_windows_are_settled_in_parts_as_at_once(tmp_path, monkeypatch, folk_dummy):
    sources, listing = folk_dummy
    at_once = building.build([*sources, *sources], listing, CONFIG)
    monkeypatch.setattr(window_store, "PART_ROWS", 20)
    monkeypatch.setattr(window_store, "READ_ROWS", 7)
    in_parts = building.build([*sources, *sources], listing, CONFIG, folder=tmp_path)
    for split in building.SPLITS:
        assert list(in_parts.splits[split]) == list(at_once.splits[split])
        assert len(list(in_parts.splits[split])) == in_parts.sizes[split] > 0
    assert in_parts.report.to_json() == at_once.report.to_json()
    assert not list(tmp_path.iterdir())  # the files have no names


def test_an_archive_gives_the_same_whatever_the_number_of_workers(tmp_path, monkeypatch):
    write_good_files(tmp_path / "music", 9)
    (tmp_path / "music" / "good_004 broken.mid").write_bytes(b"MThd broken")
    shutil.make_archive(str(tmp_path / "music"), "gztar", tmp_path / "music")
    builds = []
    for workers in (1, 2):
        monkeypatch.setattr(building, "_cores", lambda workers=workers: workers)
        windows = building.build(*listing.list_sources(tmp_path / "music.tar.gz"), CONFIG)
        splits = {split: list(kept) for split, kept in windows.splits.items()}
        builds.append((splits, windows.report.to_json()))
    assert builds[0] == builds[1]
    pieces = {window.piece for kept in builds[0][0].values() for window in kept}
    assert len(pieces) == 9
    assert any("header is cut off" in reason for reason in builds[0][1]["dropped"])


def test_a_line_of_progress_appears_while_files_are_read(monkeypatch, capsys, folk_dummy):
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.0)
    sources, listing = folk_dummy
    building.build(sources, listing, CONFIG)
    lines = capsys.readouterr().err.splitlines()
    assert f"Read {len(sources) - 1} of {len(sources)} files: " in lines[-1]
    assert any(re.search(r"windows in .* files a second, about \d+ s left", line) for line in lines)


def test_windows_with_other_chords_are_not_the_same():
    one, two = (_window([40, 0])._replace(controls=bytes([i, 1])) for i in range(2))
    kept, report = _settled({"train": [one, two]})
    assert kept == [one, two]
    assert not report.dropped


def test_held_out_window_that_is_exactly_in_training_is_not_said_to_be_in_another_key():
    _, report = _settled({"train": [_window([40, 0])], "test": [_window([40, 0])]})
    assert report.dropped == {"test window that train has too": 1}


def test_given_splits_take_no_part_in_the_bounds(folk_dummy):
    sources, listing = folk_dummy
    given = [dataclasses.replace(source, split="test") for source in sources]
    assert building.build(given, listing, CONFIG).sizes["train"] == 0
    mixed = [*given[1:], sources[0]]
    windows = building.build(mixed, listing, CONFIG)
    assert {w.piece.split("#")[0] for w in windows.splits["train"]} == {sources[0].name}


def test_a_source_may_make_its_own_pieces(folk_dummy):
    sources, _ = folk_dummy

    def pieces(source):
        answers = building.encode_files(source, [CONFIG])
        return [piece for _, answer in answers for piece in answer()[0].pieces]

    encoded = pieces(Twice(sources[0].path, "twice.abc"))
    assert {piece.split for piece in encoded} == {"train", "validation"}
    assert len(encoded) == 2 * len(pieces(sources[0]))


class Twice(reading.Source):
    """A source whose pieces come twice, in two splits."""

    def read(self):
        pieces, report = reading.read_source(self)
        twice = [
            dataclasses.replace(piece, name=f"{piece.name} {split}", split=split)
            for piece in pieces
            for split in ("train", "validation")
        ]
        return twice, report


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MelodyConverterConfig(), (36, 72)),
        (TrioConverterConfig(), (36, 72)),
        (MultiPerformanceConverterConfig(), (36, 72)),
        (DrumsConverterConfig(), None),
        (GrooveConverterConfig(), None),
    ],
)
def test_pitches_are_those_of_what_was_kept_where_there_are_any(bands, config, expected):
    windows = building.build(*listing.list_sources(bands), config)
    assert summaries.pitch_range(windows, config) == expected


def test_pitches_of_nothing_are_none():
    windows = building.Windows({split: [] for split in building.SPLITS}, Report())
    assert summaries.pitch_range(windows, CONFIG) is None
    silent = dataclasses.replace(windows, splits={"train": [_window([0] * 32)]})
    assert summaries.pitch_range(silent, CONFIG) is None


def test_hints_name_only_settings_that_the_converter_has():
    song = NoteSequence()
    for i, (pitch, program) in enumerate(((60, 90), (25, 0), (80, 0))):
        note = song.notes.add(pitch=pitch, program=program, velocity=80, end_time=0.5)
        note.instrument, note.is_drum = i, i == 2

    def hints(config):
        found = summaries.hints(build_converter(config).encode(song).report)
        for name in re.findall(r"converter\.(\w+)", " ".join(found)):
            assert hasattr(config, name), name
        return found

    melody = hints(MelodyConverterConfig(programs=(0, 31)))
    assert any("converter.programs=null" in hint for hint in melody)
    assert any("converter.pad_edges" in hint for hint in melody)
    trio = hints(TrioConverterConfig())
    assert any("converter.bass_programs" in hint for hint in trio)
    groove = hints(GrooveConverterConfig())
    assert any("converter.pitch_map" in hint for hint in groove)
    assert not any(
        "pitch_map" in hint for hint in hints(GrooveConverterConfig(pitch_map="reduced"))
    )


def test_hints_of_the_most_frequent_reasons_come_first_and_each_once():
    report, other = Report(), Report()
    report.drop(Reason("rare", "Do this."))
    report.drop("without a hint", n=9)
    other.drop(Reason("frequent", "Do that."), n=3)
    other.drop(Reason("frequent, too", "Do that."), n=2)
    report.merge(other, "a.mid")
    assert summaries.hints(report) == ["Do that.", "Do this."]
    assert summaries.hints(Report.from_json(report.to_json())) == ["Do that.", "Do this."]
