"""Chorales as tokens of four voices, from a grid and from notes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magenta_lite.converters.base import Report
from magenta_lite.converters.chorale import ChoraleConverter, ChoraleConverterConfig
from magenta_lite.data import jsb_chorales
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError
from tfds_datasets.jsb_chorales.make_dummy_data import FILE as DUMMY

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MAGENTA_LITE_DATA", ROOT.parent / "shared" / "data"))
PUBLISHED = DATA / "Jsb16thSeparated.json"
GRIDS = st.lists(
    st.lists(st.sampled_from([-1, *range(36, 82)]), min_size=4, max_size=4),
    min_size=1,
    max_size=40,
)


def make(**changes):
    return ChoraleConverter(ChoraleConverterConfig(**changes))


def test_tokens_are_the_voices_step_by_step():
    grid = [[72, 67, 64, 48], [72, 65, -1, 48]]
    ids = make(min_pitch=36, max_pitch=81).ids_of_grid(grid)
    assert ids == [39, 34, 31, 15, 39, 32, 2, 15]
    assert make(end_token=True).ids_of_grid(grid)[-1] == 1


@settings(max_examples=100, deadline=None)
@given(GRIDS)
def test_notes_of_tokens_are_the_grid_and_neighbours_of_one_pitch_one_note(grid):
    converter = make()
    ids = converter.ids_of_grid(grid)
    decoded = converter.decode(ids)
    again = np.full((len(grid), 4), -1)
    for note in decoded.notes:
        start, end = round(note.start_time * 8), round(note.end_time * 8)
        assert (again[start:end, note.instrument] == -1).all() and end > start
        again[start:end, note.instrument] = note.pitch
    np.testing.assert_array_equal(again, grid)
    changes = np.diff(again, axis=0, prepend=-2) != 0
    assert len(decoded.notes) == (changes & (again >= 0)).sum()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 54), max_size=60))
def test_every_stream_is_music(ids):
    decoded = make().decode(ids)
    assert all(0 <= n.start_time < n.end_time <= decoded.total_time for n in decoded.notes)


@pytest.mark.parametrize("path", [DUMMY, PUBLISHED], ids=["dummy", "published"])
def test_chorales_of_the_file_come_back_as_their_grids(path):
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    converter = make()
    tree = json.loads(path.read_text())
    sources, _ = jsb_chorales.list_chorales(path)
    splits = {"train": "train", "validation": "valid", "test": "test"}
    places = dict.fromkeys(splits, 0)
    for source in sources:
        grid = tree[splits[source.split]][places[source.split]]
        places[source.split] += 1
        (piece,), _ = source.read()
        report = Report()
        assert converter.ids_of(piece.sequence, report) == converter.ids_of_grid(
            np.array(grid, int)
        )
        assert not report.dropped
    if path == PUBLISHED:
        assert places == {"train": 229, "validation": 76, "test": 77}


def test_voices_are_on_the_grid_through_changes_of_tempo_and_in_either_order():
    converter = make()
    ids = converter.ids_of_grid([[72, 67, 64, 48]] * 8 + [[74, 65, 62, 50]] * 8)
    piece = converter.decode(ids)  # 120 quarters a minute: a second, then another
    piece.tempos.add(time=1.0, qpm=60)
    for note in piece.notes:
        note.instrument = 3 - note.instrument
        if note.start_time >= 1:
            note.end_time = 1 + 2 * (note.end_time - 1)
    assert converter.ids_of(piece) == ids
    piece.tempos[1].qpm, report = 0, Report()
    assert converter.ids_of(piece, report) == []
    assert list(report.dropped) == ["tempo that is not a positive number, or at no possible time"]


def test_training_crops_begin_with_the_soprano():
    converter = make(crop=32)
    grid = np.arange(40, 80)[:, None] + np.zeros((40, 4), int)
    grid[:, 0] += 1  # one up: soprano at 4 n, and no other pitch before it
    rows = np.array(converter.ids_of_grid(grid)[:64], np.uint8)[None]
    examples = Examples(rows, np.array([64], np.int32), ["a"])
    batches = iter(batches_for(converter, examples, batch_size=64, seed=0).dataset())
    starts = {
        int(row[0]) for _ in range(5) for row in next(batches)["events"].numpy() if row[0] > 2
    }
    assert starts == {int(id) for id in rows[0, :32:4]}


def test_what_is_no_chorale_is_left_out_with_its_reason(tmp_path):
    converter, report = make(), Report()
    piece = converter.decode(converter.ids_of_grid([[72, 67, 64, 48]] * 4))
    piece.notes.add(pitch=60, velocity=80, end_time=1.0, instrument=7)
    assert converter.ids_of(piece, report) == []
    assert report.dropped["piece of 5 voices, not 1 to 4"] == 1
    piece.notes[0].pitch = 20
    converter.ids_of(piece, report)
    assert report.dropped["pitch outside 33-84"] == 1
    (tmp_path / "other.json").write_text('{"train": [[1, 2]]}')
    for path in ("", tmp_path / "missing.json", tmp_path / "other.json"):
        with pytest.raises(UserError):
            jsb_chorales.list_chorales(path)
    with pytest.raises(UserError, match="multiple of 4"):
        make(crop=6)
