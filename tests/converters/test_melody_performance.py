"""Pairs of a melody and the performance that holds it."""

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.converters.melody_performance import (
    MelodyPerformanceConverter,
    MelodyPerformanceConverterConfig,
)
from magenta_lite.converters.performance import PerformanceConverter, PerformanceConverterConfig
from magenta_lite.data import summaries
from magenta_lite.errors import UserError

TUNE = (72, 74, 76, 77, 79, 81, 83, 84)


def make(**changes):
    return MelodyPerformanceConverter(MelodyPerformanceConverterConfig(**changes))


def piece(seconds=90.0, chords=True):
    """A tune of notes half a second apart, over a chord every two seconds."""
    made = music_pb2.NoteSequence(total_time=seconds)
    for i in range(int(2 * seconds)):
        start = i / 2
        made.notes.add(
            pitch=TUNE[i % 8], velocity=90, start_time=start, end_time=min(start + 0.4, seconds)
        )
        if chords and i % 4 == 0:
            for pitch in (48, 52, 55):
                made.notes.add(
                    pitch=pitch, velocity=50, start_time=start, end_time=min(start + 1.9, seconds)
                )
    return made


def halves(converter, row):
    """Returns the ids of a row's melody and of its performance."""
    steps = converter.rules.input_steps
    return row[:steps].astype(int) - converter.codec.size, row[steps:]


def test_an_example_is_a_melody_and_the_performance_that_holds_it():
    converter = make(stretches=(1.0,), passes=1)
    result = converter.encode(piece())
    assert len(result.examples) >= 3
    seconds = 0.0
    for row in result.examples:
        melody, played = halves(converter, row)
        assert len(melody) == 300
        assert melody.min() >= 0
        assert melody.max() < 92
        assert played[-1] == 1
        sounding = converter.melody.decode(np.trim_zeros(melody, "b"))
        # All of the tune is there, each note lasting to the next.
        onsets = [note for note in converter.decode(row).notes if note.pitch >= 72]
        found = [n.pitch for n in sounding.notes]
        # (A note of the last tenth of a second may have no step.)
        assert found == [n.pitch for n in onsets][: len(found)]
        assert len(onsets) - len(found) <= 1
        for a, b in zip(sounding.notes, sounding.notes[1:], strict=False):
            assert b.start_time == pytest.approx(a.end_time)
        # And the chords are in the performance alone.
        assert {48, 52, 55} <= {n.pitch for n in converter.decode(row).notes}
        seconds += len(np.trim_zeros(melody, "b")) / 10
    assert seconds == pytest.approx(90, abs=30)


def test_held_out_music_is_cut_once_and_training_music_in_many_ways():
    converter = make(passes=3, stretches=(1.0, 1.05))
    result = converter.encode(piece())
    whole = make(passes=1, stretches=(1.0,)).encode(piece())
    assert 0 < result.train_only.count(False) < len(result.examples) / 4
    assert len({row.tobytes() for row in result.examples}) == len(result.examples)
    assert whole.train_only.count(False) == len(whole.examples)
    again = converter.encode(piece())
    assert all(map(np.array_equal, result.examples, again.examples))
    lengths = [len(np.trim_zeros(halves(converter, row)[0], "b")) for row in result.examples]
    assert max(lengths) <= 300
    assert min(lengths[:-1]) < 150 < max(lengths)


def test_melody_and_performance_move_together():
    converter = make(passes=1, stretches=(1.0,))
    row = converter.encode(piece()).examples[0]
    moved = converter.transpose(row, 3)
    for before, after in zip(halves(converter, row), halves(converter, moved), strict=True):
        assert set(after.astype(int) - before) == {0, 3}
    notes = [[n.pitch for n in converter.decode(x).notes] for x in (row, moved)]
    assert [pitch + 3 for pitch in notes[0]] == notes[1]


def test_what_is_left_out_is_counted():
    short = make(min_tokens=2000).encode(piece())
    assert not short.examples
    assert short.report.dropped["segment of fewer than 2000 tokens"] > 0
    long = make(max_tokens=20).encode(piece())
    assert long.report.dropped["segment of more than 20 tokens"] > 0
    (hint,) = summaries.hints(long.report)
    assert "converter.max_tokens" in hint
    nothing = make().encode(music_pb2.NoteSequence())
    assert not nothing.examples


def test_music_without_a_melody_costs_only_its_segment(monkeypatch):
    gap = piece(seconds=20)
    gap.notes.add(pitch=60, velocity=80, start_time=200, end_time=201)  # silence in between
    result = make(min_tokens=1).encode(gap)
    assert result.report.dropped["segment without a melody"] > 0
    assert result.train_only.count(False) >= 2
    monkeypatch.setattr(
        "magenta_lite.converters.melody_performance.melody_notes",
        lambda sequence: music_pb2.NoteSequence(),
    )
    nothing = make().encode(piece())
    assert not nothing.examples
    assert set(nothing.report.dropped) == {"segment without a melody"}
    assert make().melody_ids(piece()) == []


def test_a_line_of_notes_is_its_own_melody():
    converter = make()
    low = piece(seconds=4, chords=False)
    for note in low.notes:
        note.pitch -= 36  # nobody would take that for a melody in a piece of chords
    ids = converter.melody_ids(low)
    assert [n.pitch for n in converter.melody.decode(ids).notes] == [n.pitch for n in low.notes]
    found = converter.melody.decode(converter.melody_ids(piece(seconds=4)))
    assert [n.pitch for n in found.notes] == [n.pitch for n in piece(4).notes if n.pitch >= 72]
    assert converter.melody_ids(music_pb2.NoteSequence()) == []


def test_a_performance_alone_decodes_too():
    converter = make()
    ids = PerformanceConverter(PerformanceConverterConfig(end_token=True)).ids_of(piece())
    assert converter.ids_of(piece()) == ids
    assert converter.seconds(ids, 120.0) == pytest.approx(90, abs=0.2)
    assert len(converter.decode(ids).notes) == len(piece().notes)
    with pytest.raises(ValueError, match="Event ids"):
        converter.decode([402])


def test_settings_are_checked():
    with pytest.raises(UserError, match=r"max_seconds=3.* at least converter\.min_seconds=5"):
        make(max_seconds=3.0)
    with pytest.raises(UserError, match=r"hold 1\.0"):
        make(stretches=(0.9,))
