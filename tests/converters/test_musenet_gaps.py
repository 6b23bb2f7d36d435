"""The order of MuseNet's tokens in which gaps are filled in."""

import numpy as np
import pytest

from magenta_lite.converters import build_converter
from magenta_lite.converters.musenet import codec, infill, vocabulary
from magenta_lite.converters.musenet.codec import Note, NoteColumns
from magenta_lite.converters.musenet.converter import PREFIX, MuseNetConverterConfig, to_sequence
from magenta_lite.converters.musenet.places import PARTS
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.converters.musenet.vocabulary import BEFORE, DRUMS, END, GAP, GAP_END, MIDDLE
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError

BAND = [vocabulary.BY_NAME[name] for name in ("piano", "violin", "bass", "drums")]


def band(seed=0, seconds=30):
    """Returns notes that meet, sound together, are struck again, and pause for seconds."""
    rng, notes = np.random.default_rng(seed), []
    for player in BAND:
        ends = dict.fromkeys(range(128), 0)
        for start in sorted(rng.integers(100 * seconds, size=8 * seconds).tolist()):
            pitch = int(rng.integers(50, 58))
            if start >= ends[pitch] and start // 300 % 3:
                end = start + 1 if player is DRUMS else start + int(rng.integers(5, 200))
                ends[pitch] = end
                velocity = 8 * int(rng.integers(3, 15)) if player is BAND[0] else 80
                notes.append(Note(start, end, pitch, velocity, player))
    return NoteColumns.of(codec.in_order(notes)).in_order()


def as_set(notes, later=0):
    """Returns the notes at other times; of drums, which end with the next wait, without the end."""
    return {
        (n.start + later, None if n.instrument is DRUMS else n.end + later, *n[2:]) for n in notes
    }


@pytest.mark.parametrize("seed", range(3))
def test_notes_of_ids_are_those_that_were_written(seed):
    notes = band(seed)
    ids = codec.ids_of(notes)
    np.testing.assert_array_equal(codec.ids_of(infill.notes_in(ids)), ids)
    part = ids[200:437]
    found = infill.notes_in(part)
    began, lasts = found.start == infill.EARLIER, found.end == infill.LATER
    assert began.any() and lasts.any()
    before = tables().units[ids[:200]].sum()
    there = found.at(~began & ~lasts)
    whole = as_set(there.notes(), before)
    assert whole <= as_set(codec.decode(ids).notes)
    assert len(infill.notes_in([]).start) == 0


@pytest.mark.parametrize("players", [None, [1, 9]])
@pytest.mark.parametrize("seed", range(3))
def test_a_gap_leaves_all_else_where_it_was(seed, players):
    notes = band(seed)
    start, end = 1000, 1731
    moved = (notes.start >= start) & (notes.start < end)
    if players:
        moved &= np.isin(notes.place, players)
    last = int(notes.end.max())
    parts = infill.layout(notes, moved, start, end, ["strings", "drums"], last)
    assert parts.gap[0] == GAP and parts.gap[-1] == GAP_END and parts.after[-1] == END
    assert tables().units[parts.before].sum() == start
    assert tables().units[parts.gap].sum() == end - start
    assert parts.before[0] == BEFORE
    kept = codec.decode(np.concatenate([parts.before, parts.gap, parts.after]))
    assert as_set(kept.notes) == as_set(notes.at(~moved).notes())
    assert not kept.hung and not kept.unmatched and kept.units == last
    assert parts.middle[:2].tolist() == [MIDDLE, vocabulary.instrument_set_id(["strings", "drums"])]
    middle = codec.decode(parts.middle)
    assert middle.units == end - start and parts.middle[-1] == END
    clipped = notes.at(moved)
    clipped = clipped._replace(end=np.minimum(clipped.end, end))
    assert as_set(middle.notes, start) == as_set(clipped.notes()) and clipped.notes()
    assert not middle.hung and not middle.unmatched


def onset(note, later=0):
    return (note.start + later, *note[2:])


def rows_of(**settings):
    settings = {"crop": 253, "merge_doubled": True, "places_by_time": True} | settings
    converter = build_converter(MuseNetConverterConfig(**settings))
    return converter, converter.encode(to_sequence(band(5, 90).notes())).examples


def test_examples_keep_their_notes_and_the_places_of_their_times():
    converter, rows = rows_of()
    some = partial = ends = 0
    for number, row in enumerate([*rows[:-1], *rows[:-1], rows[-2][-150:]]):  # and an end
        crop = row[: converter.crop].astype(np.int32)
        rng = np.random.default_rng(number)
        made = infill.rearranged(crop, PREFIX, converter.crop, rng)
        np.testing.assert_array_equal(made[:PREFIX], crop[:PREFIX])
        assert min(len(crop), converter.crop - 30) <= len(made) <= converter.crop
        ids, was = made[PREFIX:, 0], crop[PREFIX:, 0]
        middle, before = (int(np.flatnonzero(ids == mark)[0]) for mark in (MIDDLE, BEFORE))
        start = int(tables().units[ids[before:middle]].sum())
        units = np.cumsum(tables().units[ids])
        times = np.where(np.arange(len(ids)) < before, units + start, units - units[before])
        assert ids[0] == GAP and times[middle] == start
        # A part is the same from one token of the crop to the next.
        known = dict(zip(np.cumsum(tables().units[was]).tolist(), crop[PREFIX:, 1], strict=True))
        for time, (_, part, countdown) in zip(times.tolist(), made[PREFIX:].tolist(), strict=True):
            if time >= min(known):
                assert part == known[max(t for t in known if t <= time)]
            assert part + countdown == PARTS - 1
        old = {onset(note) for note in codec.decode(was).notes}
        new = {onset(note, start) for note in codec.decode(ids[:before]).notes}
        new |= {onset(note) for note in codec.decode(ids[before:]).notes}
        assert new <= old
        last = start + units[before]
        assert min((time for time, *_ in old - new), default=last) >= last
        ends += END in ids[:before]
        families = vocabulary.token(int(ids[middle + 1])).families
        some += len(families) < 4
        partial += any(
            id < vocabulary.FIRST_WAIT for id in ids[: np.flatnonzero(ids == GAP_END)[0]]
        )
    assert 0 < some < 2 * len(rows) and partial >= some // 2 and ends


def test_a_share_of_the_batches_of_training_has_gaps():
    def batch(count=200, shuffle=True, **settings):
        converter, rows = rows_of(**settings)
        lengths = np.array([len(row) for row in rows], np.int32)
        most = max(lengths)
        padded = np.stack([np.pad(row, [[0, most - len(row)], [0, 0]]) for row in rows])
        examples = Examples(padded, lengths, None)
        made = batches_for(converter, examples, batch_size=count, seed=3, shuffle=shuffle)
        return {name: x.numpy() for name, x in next(iter(made.dataset())).items()}

    plain, mixed, again = batch(), batch(infill=0.3), batch(infill=0.3)
    for name, values in mixed.items():
        np.testing.assert_array_equal(values, again[name])
    has_gap = (mixed["events"][..., 0] == GAP).any(axis=1)
    assert 40 <= has_gap.sum() <= 80
    np.testing.assert_array_equal(mixed["events"][~has_gap], plain["events"][~has_gap])
    np.testing.assert_array_equal((mixed["events"][..., 0] != 0).sum(1), mixed["length"])
    held_out = batch(5, shuffle=False, infill=1.0)["events"]
    assert not (held_out[..., 0] == GAP).any()
    with pytest.raises(UserError, match=r"converter.infill=1.5 must lie in \[0, 1\]"):
        MuseNetConverterConfig(infill=1.5)
