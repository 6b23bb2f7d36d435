"""Drum tracks for drum_kit_rnn: what is found, as which ids, and back to notes."""

import pytest
from event_reference import encode_events
from note_seq.protobuf import music_pb2

from magenta_lite.converters.event_sequences.drums import (
    EventDrumsConverter,
    EventDrumsConverterConfig,
)
from magenta_lite.errors import UserError


def piece(steps, meter=(4, 4)):
    """Drums of which each step, a 16th at 120 quarters a minute, has these pitches."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=120)
    sequence.time_signatures.add(numerator=meter[0], denominator=meter[1])
    for step, pitches in enumerate(steps):
        for pitch in pitches:
            sequence.notes.add(
                pitch=pitch,
                velocity=80,
                start_time=step / 8,
                end_time=(step + 1) / 8,
                instrument=9,
                is_drum=True,
            )
    return sequence


BAR = [(36, 42), (), (42,), (), (38, 42), (), (42,), (46,)] * 2


def encode(sequence, **changes):
    return EventDrumsConverter(EventDrumsConverterConfig(**changes)).encode(sequence)


def test_a_track_is_ids_of_sets_to_its_last_hit():
    (events,) = encode(piece([(), (), *BAR * 8])).examples
    assert events[:10].tolist() == [0, 0, 5, 0, 4, 0, 6, 0, 4, 8]
    assert len(events) == 8 * 16 + 2
    (events,) = encode(piece([*BAR * 8, (36,), (), ()])).examples
    assert len(events) == 8 * 16 + 1


def test_a_model_reads_the_set_and_where_the_next_one_stands():
    converter = EventDrumsConverter(EventDrumsConverterConfig())
    ids = [5, 0, 384, 0]
    inputs, labels = encode_events(converter.encoding, ids)
    assert (inputs.shape, labels.tolist()) == ((3, 518), [0, 384, 0])
    assert inputs[2, :512].nonzero()[0].tolist() == [384]
    assert inputs[2, 512:].tolist() == [1, 1, -1, -1, -1, -1]  # step 3


def test_one_drum_hears_eighths_and_claps():
    converter = EventDrumsConverter(EventDrumsConverterConfig(classes="one", steps_per_quarter=2))
    (events,) = converter.encode(piece(BAR * 8)).examples
    assert events[:5].tolist() == [1, 1, 1, 1, 1]
    assert (converter.encoding.input_size, converter.encoding.num_classes) == (2, 2)
    assert {note.pitch for note in converter.decode(events).notes} == {39}


def test_encoded_hits_decode_to_themselves():
    converter = EventDrumsConverter(EventDrumsConverterConfig())
    given = piece(BAR * 8)
    (events,) = converter.encode(given).examples
    notes = converter.decode(events).notes
    assert [(n.pitch, n.start_time, n.end_time) for n in notes] == [
        (n.pitch, n.start_time, n.end_time) for n in given.notes
    ]
    assert all(note.is_drum for note in notes)


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        (piece(BAR * 6), "drum track shorter than 7 bars"),
        (piece(BAR * 8, meter=(7, 32)), "bar of 7/32 is not a whole number of 16ths"),
        (piece([(25,), *BAR * 8]), "drum pitch without a class"),
        (piece([*BAR * 8, *[()] * 40, (36,)]), "drum track shorter than 7 bars"),
        (piece(BAR * 40), "drum track longer than 512 steps is cut"),
    ],
)
def test_what_is_left_out_has_a_reason(sequence, reason):
    assert encode(sequence).report.dropped[reason] == 1


def test_sets_that_are_none_are_refused():
    converter = EventDrumsConverter(EventDrumsConverterConfig())
    with pytest.raises(ValueError, match="must lie in"):
        converter.decode([512])


@pytest.mark.parametrize("changes", [{"classes": "kitt"}, {"max_steps": 1}, {"gap_bars": -1}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(UserError, match="converter"):
        EventDrumsConverterConfig(**changes)
