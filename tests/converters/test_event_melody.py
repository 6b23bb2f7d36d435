"""Melodies for MelodyRNN: encodings and squash as recorded, extraction, and back to notes."""

import json
from pathlib import Path

import numpy as np
import pytest
from event_reference import History, encode_events
from note_seq.protobuf import music_pb2

from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.converters.event_sequences.melody import (
    EventMelodyConverter,
    EventMelodyConverterConfig,
)
from magenta_lite.converters.event_sequences.squash import squash
from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn.config import MelodyRNNConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "melody_rnn"
MELODIES = json.loads((GOLDEN / "melodies.json").read_text())
EVERY_PITCH = {"min_pitch": 0, "max_pitch": 127, "transpose_to_key": None}
ENCODINGS = {
    "basic_rnn": "one_hot",
    "mono_rnn": "one_hot",
    "lookback_rnn": "lookback",
    "attention_rnn": "key",
}
CONFIGS = {
    name: EventMelodyConverterConfig(**(EVERY_PITCH if name == "mono_rnn" else {}))
    for name in ENCODINGS
}
each = pytest.mark.parametrize("name", CONFIGS)


def encoding_of(name):
    return MelodyRNNConfig(encoding=ENCODINGS[name]).event_encoding(
        EventMelodyConverter(CONFIGS[name])
    )


@each
def test_squash_equals_the_original(name):
    converter = EventMelodyConverter(CONFIGS[name])
    for melody in MELODIES:
        squashed = converter.squash(melody["events"])
        expected = melody["squash"][name]
        assert (squashed.shift, squashed.events) == (expected["transpose"], expected["events"])


@each
def test_inputs_and_labels_equal_the_original(name):
    converter = EventMelodyConverter(CONFIGS[name])
    recorded = np.load(GOLDEN / "encodings.npz")
    for i, melody in enumerate(MELODIES):
        ids = converter.to_ids(melody["squash"][name]["events"])
        inputs, labels = encode_events(encoding_of(name), ids)
        np.testing.assert_array_equal(inputs, recorded[f"{name}/{i:02d}/inputs"])
        np.testing.assert_array_equal(labels, recorded[f"{name}/{i:02d}/labels"])


def test_sizes_are_those_of_the_original():
    sizes = {
        name: (encoding.input_size, encoding.num_classes)
        for name in CONFIGS
        for encoding in [encoding_of(name)]
    }
    assert sizes == {
        "basic_rnn": (38, 38),
        "mono_rnn": (130, 130),
        "lookback_rnn": (121, 40),
        "attention_rnn": (74, 40),
    }
    drum_kit = EventEncoding(512, counter_bits=6)
    assert (drum_kit.input_size, drum_kit.num_classes) == (518, 512)


@each
def test_labels_mean_the_events_they_were_made_of(name):
    encoding = encoding_of(name)
    rows = np.random.default_rng(0).integers(0, 6, (50, 80))  # few ids: many repeats
    history = History(encoding, rows=50)
    for ids, following in zip(rows.T[:-1], rows.T[1:], strict=True):
        history.add(ids)
        np.testing.assert_array_equal(history.ids(history.classes(following)), following)
        own = encoding.own_class(following)
        np.testing.assert_array_equal(history.ids(own), following)


@each
def test_rows_side_by_side_are_what_each_is_alone(name):
    encoding = encoding_of(name)
    rows = np.random.default_rng(1).integers(0, encoding.num_ids, (5, 60))
    history = History(encoding, rows=5)
    together = np.stack([history.add(ids) for ids in rows.T], axis=1)
    for row, inputs in zip(rows, together, strict=True):
        np.testing.assert_array_equal(encode_events(encoding, row)[0], inputs[:-1])


def test_squash_folds_what_does_not_fit_and_undo_restores_it():
    squashed = squash([30, 60, -2, 95], 48, 83, key=0)
    assert (squashed.events, squashed.shift, squashed.folded) == ([59, 65, -2, 76], 5, 2)
    longer = [*squashed.events, 65, -1]
    assert squashed.undo(longer) == [30, 60, -2, 95, 60, -1]
    assert squashed.undo(longer, restore_folded=False) == [54, 60, -2, 71, 60, -1]


def test_squash_of_silence_moves_nothing():
    assert squash([-2, -2], 48, 83, key=0).shift == 0


# Extraction ---------------------------------------------------------------------------------


def piece(pitches, seconds=0.5, meter=(4, 4), **note):
    """Notes one after the other, quarters unless said otherwise, at 120 quarters a minute."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=120)
    sequence.time_signatures.add(numerator=meter[0], denominator=meter[1])
    for i, pitch in enumerate(pitches):
        sequence.notes.add(
            pitch=pitch, velocity=80, start_time=i * seconds, end_time=(i + 1) * seconds, **note
        )
    sequence.total_time = len(pitches) * seconds
    return sequence


SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def encode(sequence, **changes):
    return EventMelodyConverter(EventMelodyConverterConfig(**changes)).encode(sequence)


def test_a_melody_ends_with_its_last_note():
    (events,) = encode(piece(SCALE * 4)).examples
    assert len(events) == 128  # a note-off on the last bar line is not part of it
    (events,) = encode(piece((SCALE * 4)[:-1])).examples
    assert len(events) == 124  # nor is the rest of the bar


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        (piece(SCALE * 3), "melody shorter than 7 bars"),
        (piece([60, 62, 64, 72] * 8), "melody of fewer than 5 pitches"),
        (piece(SCALE * 4, is_drum=True), "drum note"),
        (piece(SCALE * 4, meter=(7, 32)), "bar of 7/32 is not a whole number of 16ths"),
    ],
)
def test_what_is_left_out_has_a_reason(sequence, reason):
    result = encode(sequence)
    assert not result.examples
    assert reason in result.report.dropped


def test_other_meters_count_their_own_bars():
    assert len(encode(piece(SCALE * 3, meter=(3, 4))).examples) == 1  # 8 bars of 3/4


def test_long_melodies_are_cut():
    result = encode(piece(SCALE * 20))
    assert [len(events) for events in result.examples] == [512]
    assert result.report.dropped["melody longer than 512 steps is cut"] == 1


def test_an_instrument_is_given_up_at_the_first_notes_that_start_together():
    sequence = piece(SCALE * 4)
    sequence.notes.add(pitch=40, velocity=80, start_time=10, end_time=11)
    assert not encode(sequence).examples
    assert len(encode(sequence, skip_polyphony=False).examples) == 1


def test_melodies_before_polyphony_are_kept():
    sequence = piece(SCALE * 4)
    for pitch in (50, 53):
        sequence.notes.add(pitch=pitch, velocity=80, start_time=20, end_time=21)
    assert len(encode(sequence).examples) == 1


def test_silence_of_a_bar_begins_another_melody():
    sequence = piece(SCALE * 8)
    for note in list(sequence.notes)[32:]:
        note.start_time += 2.5
        note.end_time += 2.5
        note.pitch += 1 if note.pitch == 60 else 0
    assert len(encode(sequence).examples) == 2


def test_encoded_notes_decode_to_themselves_moved_to_the_key():
    converter = EventMelodyConverter(EventMelodyConverterConfig())
    given = piece([pitch + 2 for pitch in SCALE * 4])  # D major
    (events,) = converter.encode(given).examples
    again = converter.decode(events)
    assert [note.pitch for note in again.notes] == SCALE * 4
    assert [(n.start_time, n.end_time) for n in again.notes] == [
        (n.start_time, n.end_time) for n in given.notes
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"min_pitch": 60, "max_pitch": 70},
        {"transpose_to_key": 12},
        {"max_steps": 1},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(UserError, match="converter"):
        EventMelodyConverterConfig(**changes)


@pytest.mark.parametrize("changes", [{"encoding": "lookbak"}, {"lookback_distances": (32, 16)}])
def test_impossible_encodings_are_refused(changes):
    with pytest.raises(UserError, match="model"):
        MelodyRNNConfig(**changes)
