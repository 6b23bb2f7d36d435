"""The order of the tokens of performances in which gaps are filled in."""

import numpy as np
import pytest

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.performance import PerformanceConverterConfig
from magenta_lite.converters.performance_codec import PlayedNote
from magenta_lite.data.building import converter_name
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError

CONVERTER = build_converter(PerformanceConverterConfig(crop=256, infill=1.0))
GAPS, CODEC = CONVERTER.gaps, CONVERTER.codec


def played(seed=0, seconds=30, velocities=(40, 60, 90)):
    """Returns notes that sound together, pause for a while, and do not overlap on one pitch."""
    rng, free, notes = np.random.default_rng(seed), {}, []
    for start in sorted(rng.uniform(0, seconds, 8 * seconds).round(2).tolist()):
        pitch = int(rng.integers(55, 70))
        if start > free.get(pitch, -1) and start // 3 % 3:
            end = start + round(rng.uniform(0.05, 2), 2)
            free[pitch] = end
            notes.append(PlayedNote(start, pitch, end, int(rng.choice(velocities))))
    return CODEC.ids(np.array(sorted(notes)))


def notes_in(*parts, later=0):
    """Returns the notes of ids with their velocities, in steps."""
    ids = np.concatenate(parts).tolist()
    decoded = CODEC.decoded(id for id in ids if GAPS.end < id < CODEC.size)
    return {note._replace(start=note.start + later, end=note.end + later) for note in decoded}


@pytest.mark.parametrize("seed", range(3))
def test_a_gap_leaves_all_else_where_it_was(seed):
    ids = played(seed)
    start, end = 1300, 1731
    parts = GAPS.layout(GAPS.changes(ids), start, end)
    assert parts.gap[0] == GAPS.gap and parts.gap[-1] == GAPS.gap_end
    assert (parts.before[0], parts.middle[0], parts.middle[-1]) == (
        GAPS.before,
        GAPS.middle,
        GAPS.end,
    )
    assert CODEC.steps(parts.before) == start
    assert CODEC.steps(parts.gap) == CODEC.steps(parts.middle) == end - start
    every = notes_in(ids)
    moved = {note for note in every if start <= note.start < end}
    assert any(note.start < start < note.end for note in every)
    assert any(note.end > end for note in moved)
    # Ends that are shown in the gap belong to notes before it.
    assert notes_in(parts.before, parts.gap, parts.after) == every - moved
    cut = {note._replace(end=min(note.end, end)) for note in moved}
    assert notes_in(parts.middle, later=start) == cut
    sounds = {note.pitch for note in every if note.start < start < note.end}
    assert sum(id > GAPS.end and id < CODEC.shift[0] for id in parts.gap) <= len(sounds)


def test_without_a_gap_the_tokens_are_the_same():
    ids = played()
    whole = GAPS.layout(GAPS.changes(ids), 0, 10**6).middle
    np.testing.assert_array_equal(whole[1 : 1 + len(ids)], ids)


@pytest.mark.parametrize("first", [0, 100, 333])
def test_examples_keep_what_a_crop_has(first):
    """Also of a crop that begins or ends within notes."""
    whole = played(4, 60)
    crop = whole[first : first + CONVERTER.crop]
    for seed in range(20):
        made = CONVERTER.rearranged(crop, np.random.default_rng(seed))
        assert CONVERTER.crop - 30 <= len(made) <= CONVERTER.crop
        places = [made.tolist().index(m) for m in (GAPS.gap_end, GAPS.before, GAPS.middle)]
        gap, after, before, middle = np.split(made, places)
        assert gap[0] == GAPS.gap and made[-1] == GAPS.end
        start = CODEC.steps(before)
        found = notes_in(before, gap, after) | notes_in(middle, later=start)
        old = {(note.start, note.pitch, note.velocity) for note in notes_in(crop)}
        new = {(note.start, note.pitch, note.velocity) for note in found}
        assert new <= old
        seen = CODEC.steps(before) + CODEC.steps(gap) + CODEC.steps(after)
        # Notes that have no time left in the crop are not heard in it.
        assert min((note[0] for note in old - new), default=seen) >= seen


def test_an_end_stays_at_the_end():
    converter = build_converter(PerformanceConverterConfig(crop=4096, end_token=True, infill=1.0))
    ids = np.append(played(), GAPS.end)
    made = converter.rearranged(ids, np.random.default_rng(0)).tolist()
    ends = [i for i, id in enumerate(made) if id == GAPS.end]
    assert ends == [made.index(GAPS.before) - 1, len(made) - 1]


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_end_with_the_same_tokens(seed):
    ids = played(seed, 60)
    filled, continued, count = GAPS.both_ways(ids, 256, 2000, 2300)
    assert max(len(filled), len(continued)) <= 256
    np.testing.assert_array_equal(filled[-count:], continued[-count:])
    assert filled[0] == GAPS.gap and filled[-count - 1] == GAPS.middle
    assert CODEC.steps(filled[-count:]) == 300
    assert not set(continued) & {GAPS.gap, GAPS.middle, GAPS.end}
    sounding = np.zeros(CODEC.size)  # nothing lasts into the span
    for id in continued[:-count].tolist():
        if CODEC.note_on[0] <= id <= CODEC.note_on[1]:
            sounding[id] += 1
        elif CODEC.note_off[0] <= id <= CODEC.note_off[1]:
            sounding[id - CODEC.note_off[0] + CODEC.note_on[0]] -= 1
    assert sounding.max() <= 0
    with pytest.raises(ValueError, match="do not fit into 64"):
        GAPS.both_ways(ids, 64, 1000, 4000)


def test_a_share_of_the_batches_of_training_has_gaps():
    ids = played(2, 60)

    def batch(count=200, shuffle=True, **settings):
        converter = build_converter(PerformanceConverterConfig(crop=128, **settings))
        rows = np.stack([ids[start : start + 256] for start in range(0, 500, 5)])
        examples = Examples(rows.astype(np.uint16), np.full(len(rows), 256, np.int32), None)
        made = batches_for(converter, examples, batch_size=count, seed=3, shuffle=shuffle)
        return next(iter(made.dataset()))["events"].numpy()

    plain, mixed = batch(), batch(infill=0.3)
    has_gap = (mixed == GAPS.gap).any(axis=1)
    assert 40 <= has_gap.sum() <= 80
    np.testing.assert_array_equal(mixed[~has_gap], plain[~has_gap])
    assert not (batch(5, shuffle=False, infill=1.0) == GAPS.gap).any()


def test_marks_are_ids_of_models_with_gaps_only():
    plain = build_converter(PerformanceConverterConfig())
    assert (plain.rules.size, CONVERTER.rules.size) == (310, 314)
    assert plain.rules.fill_end is None and not plain.rearranges
    assert CONVERTER.event_format == plain.event_format
    assert not set(np.flatnonzero(CONVERTER.valid_next(played()[:50]))) & {1, *range(310, 314)}
    names = {converter_name(PerformanceConverterConfig(infill=share)) for share in (0.0, 0.5)}
    assert len(names) == 1  # one data set
    for name in ("music_transformer", "music_transformer_tiny"):
        assert get_config(name).converter.infill == 0.5
        assert get_config(name, original=True).converter.infill == 0
    with pytest.raises(UserError, match=r"converter.infill=1.5 must lie in \[0, 1\]"):
        PerformanceConverterConfig(infill=1.5)
