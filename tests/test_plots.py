"""Piano rolls: where notes stand in a picture, and what is written beside them."""

import time

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.musenet.converter import to_sequence
from magenta_lite.converters.writing import add_marker
from magenta_lite.plots import piano_roll, piano_rolls, png_bytes
from magenta_lite.testing.events import made_up_events


def decoded(name, steps, seed=0):
    """Returns the NoteSequence of made-up events of the converter of a configuration."""
    converter = build_converter(get_config(name).converter)
    (events,) = made_up_events(converter.event_format, 1, steps, seed)
    return converter.decode(events)


def notes_of(axes):
    """Returns left, bottom, right and top of the notes, and their colours."""
    (notes,) = (drawn for drawn in axes.collections if isinstance(drawn, PolyCollection))
    corners = [path.vertices for path in notes.get_paths()]
    return [(*each.min(axis=0), *each.max(axis=0)) for each in corners], notes.get_facecolor()


def lines_of(axes):
    """Returns where vertical lines stand: of all beats if they are ruled, and of bars."""
    return [
        [line[0][0] for line in drawn.get_segments()]
        for drawn in axes.collections
        if isinstance(drawn, LineCollection)
    ]


def ticks_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_notes_are_bars_from_their_begin_to_their_end_and_louder_is_darker():
    sequence = music_pb2.NoteSequence()
    sequence.notes.add(pitch=60, start_time=1, end_time=2.5, velocity=127)
    sequence.notes.add(pitch=67, start_time=2, end_time=3, velocity=1, instrument=1, program=40)
    (axes,) = piano_roll(sequence).axes
    found, (loud, quiet) = notes_of(axes)
    np.testing.assert_allclose(found, [(1, 59.55, 2.5, 60.45), (2, 66.55, 3, 67.45)])
    assert loud[3] == pytest.approx(1) and quiet[3] < 0.4
    assert not np.array_equal(loud[:3], quiet[:3])
    assert axes.get_xlim() == (0, 3) and axes.get_ylim() == (58, 69)
    assert axes.get_xlabel() == "seconds"
    assert legend_of(axes) == ["Acoustic Grand Piano", "Violin"]


def test_bars_are_where_the_meter_and_the_tempo_have_them():
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=60)
    sequence.tempos.add(qpm=120, time=6)  # after two bars of 3/4
    sequence.time_signatures.add(numerator=3, denominator=4)
    sequence.time_signatures.add(numerator=6, denominator=8, time=9)  # after four
    for start in (0, 3, 6, 7.5, 9, 10.5):
        sequence.notes.add(pitch=60, start_time=start, end_time=start + 0.5, velocity=80)
    (axes,) = piano_roll(sequence).axes
    beats, bars = lines_of(axes)
    np.testing.assert_allclose(bars, [0, 3, 6, 9, 12, 15])
    np.testing.assert_allclose([left for left, *_ in notes_of(axes)[0]], bars)
    np.testing.assert_allclose(beats, [*range(12), *np.arange(12, 18, 0.5)])
    assert ticks_of(axes.xaxis) == ["1", "2", "3", "4", "5", "6"]
    assert axes.get_xlabel() == "bar" and axes.get_xlim() == (0, 18)


@pytest.mark.parametrize(
    ("name", "steps", "unit"),
    [
        ("cat-mel_2bar", 32, "bar"),
        ("attention_rnn", 64, "bar"),
        ("groovae_2bar_humanize", 32, "bar"),
        ("hierdec-trio_16bar", 64, "bar"),
        ("music_transformer_jsb", 512, "bar"),
        ("performance_with_dynamics", 128, "seconds"),
        ("music_transformer", 128, "seconds"),
        ("music_transformer_melody", 128, "seconds"),
        ("musenet_tiny", 128, "seconds"),
    ],
)
def test_music_on_a_grid_has_bars_and_performances_have_seconds(name, steps, unit):
    assert piano_roll(decoded(name, steps)).axes[-1].get_xlabel() == unit


def test_drums_have_rows_with_their_names():
    sequence = music_pb2.NoteSequence()
    for pitch in (42, 36, 38, 36, 81):
        sequence.notes.add(pitch=pitch, end_time=1, velocity=80, is_drum=True)
    (axes,) = piano_roll(sequence).axes
    assert ticks_of(axes.yaxis) == ["kick", "snare", "closed hi-hat", "open triangle"]
    rows = [bottom for _, bottom, *_ in notes_of(axes)[0]]
    np.testing.assert_allclose(rows, [1.55, -0.45, 0.55, -0.45, 2.55])
    assert axes.get_legend() is None


def test_drums_of_a_trio_are_below_its_notes_on_the_same_time():
    trio = decoded("hierdec-trio_16bar", 64)
    notes, drums = piano_roll(trio, "title").axes
    counts = np.bincount([note.is_drum for note in trio.notes])
    assert [len(notes_of(axes)[0]) for axes in (notes, drums)] == counts.tolist()
    assert notes.get_xlim() == drums.get_xlim()
    assert (notes.get_title(), drums.get_title()) == ("title", "")
    assert legend_of(notes) == [
        "Melody: Acoustic Grand Piano", "Electric Bass (finger)", "Drums"
    ]  # fmt: skip


def test_an_instrument_has_one_colour_in_all_pieces():
    piano, both = music_pb2.NoteSequence(), music_pb2.NoteSequence()
    piano.notes.add(pitch=60, end_time=1, velocity=80)
    both.notes.add(pitch=62, end_time=1, velocity=80, program=40)
    both.notes.add(pitch=60, end_time=1, velocity=80, instrument=1)
    first, second = piano_rolls([piano, both], "12").axes
    (a,), (violin, b) = notes_of(first)[1], notes_of(second)[1]
    assert np.array_equal(a, b) and not np.array_equal(a, violin)
    assert legend_of(first) == ["Acoustic Grand Piano", "Violin"]
    assert second.get_legend() is None


def test_a_marker_is_a_dashed_line_with_its_text_and_chords_stand_above():
    tune = decoded("attention_rnn", 64)
    add_marker(tune, "continuation", 4.0)
    chord = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL
    tune.text_annotations.add(time=2.0, text="Am", annotation_type=chord)
    (axes,) = piano_roll(tune).axes
    (line,) = axes.lines
    assert line.get_linestyle() == "--" and list(line.get_xdata()) == [8, 8]
    texts = {text.get_text(): text.xy[0] for text in axes.texts}
    assert texts == {"continuation": 8, "Am": 4}


def test_pieces_of_different_kinds_share_a_picture():
    pieces = [decoded("attention_rnn", 64), to_sequence([]), decoded("groovae_2bar_humanize", 32)]
    figure = piano_rolls(pieces, ["a", "b", "c"])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    assert figure.axes[-1].get_xlabel() == "seconds"  # one of them has no bars
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_ten_minutes_of_a_band_are_drawn_in_a_few_seconds():
    rng, band = np.random.default_rng(0), music_pb2.NoteSequence()
    band.time_signatures.add(numerator=4, denominator=4)
    for start in rng.uniform(0, 600, 8000):
        program = int(rng.integers(6))
        band.notes.add(pitch=int(rng.integers(36, 90)), velocity=80, program=program,
                       start_time=start, end_time=start + 0.3, is_drum=program == 5)  # fmt: skip
    start = time.process_time()
    figure = piano_roll(band)
    png_bytes(figure)
    assert time.process_time() - start < 20
    assert max(figure.get_size_inches()) <= 30
