"""Melodies over chords: chord ids, what a model reads of them, and chords beside melodies."""

import numpy as np
import pytest
from event_reference import encode_events
from note_seq.protobuf import music_pb2

from magenta_lite.converters.chords import UnusableChords
from magenta_lite.converters.event_sequences.chord_ids import (
    CHORD_VECTORS,
    KINDS,
    chord_id,
    stored_class,
)
from magenta_lite.converters.event_sequences.melody import (
    EventMelodyConverter,
    EventMelodyConverterConfig,
)
from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn.config import MelodyRNNConfig

SYMBOL = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL


def vector(symbol):
    """Returns root, pitches and bass that are read of a chord symbol; None for no chord."""
    (read,) = CHORD_VECTORS["pitches"][[chord_id(symbol, "pitches")]]
    if read[0]:
        assert read.sum() == 1
        return None
    (root,), pitches, (bass,) = (part.nonzero()[0].tolist() for part in np.split(read[1:], 3))
    return root, pitches, bass


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("C", (0, [0, 4, 7], 0)),
        ("Am", (9, [0, 4, 9], 9)),
        ("Am7", (9, [0, 4, 7, 9], 9)),
        ("C/E", (0, [0, 4, 7], 4)),
        ("F#m7b5", (6, [0, 4, 6, 9], 6)),
        ("Gsus4", (7, [0, 2, 7], 7)),
        ("C13", (0, [0, 2, 4, 7, 10], 0)),  # the nearest that is known: a ninth
        ("N.C.", None),
    ],
)
def test_of_chord_pitches_root_pitches_and_bass_are_read(symbol, expected):
    assert vector(symbol) == expected


def test_of_triads_one_of_49_is_read():
    assert CHORD_VECTORS["triads"].shape == (49, 49)
    ids = [chord_id(symbol, "triads") for symbol in ("N.C.", "C", "Bm7", "Faug", "Ddim")]
    assert ids == [0, 1, 24, 30, 39]


def test_stored_classes_fit_a_byte_and_are_triads_first():
    assert len(KINDS) * 12 < 256
    for symbol in ("C", "F#m", "Eaug", "Bdim"):
        assert stored_class(symbol, "pitches") == chord_id(symbol, "triads")
    assert stored_class("C/E", "pitches") == chord_id("C", "triads")


@pytest.mark.parametrize("reading", CHORD_VECTORS)
def test_what_is_no_chord_is_refused(reading):
    with pytest.raises(UnusableChords, match="'H7' is a chord symbol that cannot be read"):
        chord_id("H7", reading)


# Beside melodies ----------------------------------------------------------------------------

SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def lead_sheet(chords="C G", bars=8, meter=(4, 4), pitches=SCALE):
    """Quarters at 120 a minute, from the second bar on, and a chord at each of the first bars."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=120)
    sequence.time_signatures.add(numerator=meter[0], denominator=meter[1])
    for i in range(4 * bars):
        pitch = pitches[i % len(pitches)]
        sequence.notes.add(pitch=pitch, velocity=80, start_time=2 + i / 2, end_time=2.5 + i / 2)
    for i, text in enumerate(chords.split()):
        sequence.text_annotations.add(text=text, time=2.0 * i, annotation_type=SYMBOL)
    return sequence


def converter(**changes):
    defaults = {"chords": "triads", "transpose_to_key": None}
    return EventMelodyConverter(EventMelodyConverterConfig(**(defaults | changes)))


def test_each_step_has_the_chord_that_sounds():
    result = converter().encode(lead_sheet("C G Am7"))
    (events,), (chords,) = result.examples, result.controls
    assert len(events) == len(chords) == 128
    assert chords[[0, 15, 16, 127]].tolist() == [8, 8, 22, 22]  # the melody begins with bar 2


def test_sevenths_are_kept_where_pitches_are_read():
    (chords,) = converter(chords="pitches").encode(lead_sheet("C G Am7")).controls
    assert CHORD_VECTORS["pitches"][chords[16]].sum() == 1 + 4 + 1


def test_chords_move_to_the_key_with_the_melody():
    sheet = lead_sheet("D A", pitches=[pitch + 2 for pitch in SCALE])
    result = converter(transpose_to_key=0).encode(sheet)
    assert result.controls[0].dtype == np.uint8
    assert set(result.controls[0].tolist()) == {8}  # A moved to G
    assert result.examples[0][0] == 60 - 48 + 2


def test_without_symbols_chords_are_inferred_in_common_time_only():
    assert converter().encode(lead_sheet("")).controls[0].max() > 0
    report = converter().encode(lead_sheet("", bars=12, meter=(3, 4))).report
    assert report.dropped["music without chord symbols that is not in 4/4"] == 1
    assert converter().encode(lead_sheet("C", bars=12, meter=(3, 4))).examples


def test_unknown_triads_leave_the_stretch_out_and_say_so():
    result = converter().encode(lead_sheet("C Gsus4"))
    assert not result.examples
    (reason,) = result.report.dropped
    assert reason == "chord that is not major, minor, augmented or diminished"
    assert result.report.places[reason] == ["Gsus4"]


def test_a_model_reads_the_chord_of_the_event_that_it_predicts():
    key = MelodyRNNConfig(encoding="key")
    encoding = key.event_encoding(converter())
    inputs, labels = encode_events(encoding, [14, 0, 16], chords=[1, 8, 22])
    assert (inputs.shape, len(labels)) == ((2, 123), 2)
    assert inputs[:, :49].nonzero()[1].tolist() == [8, 22]
    alone, _ = encode_events(
        key.event_encoding(EventMelodyConverter(EventMelodyConverterConfig())), [14, 0, 16]
    )
    np.testing.assert_array_equal(inputs[:, 49:], alone)


def test_an_unknown_reading_is_refused():
    with pytest.raises(UserError, match=r"converter\.chords"):
        converter(chords="triad")
