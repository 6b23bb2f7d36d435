"""What stands in a MIDI file, as other libraries read it."""

import io

import mido
import numpy as np
import pretty_midi
import pytest
import symusic
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.writing import add_marker
from magenta_lite.midi import midi_bytes, tracks_of
from magenta_lite.testing.events import made_up_events

# A configuration of each kind of converter that gives notes.
CONFIGS = (
    "attention_rnn",
    "drum_kit_rnn",
    "performance_with_dynamics",
    "cat-mel_2bar",
    "cat-drums_2bar",
    "nade-drums_2bar_full",
    "hierdec-trio_16bar",
    "groovae_2bar_humanize",
    "hier-multiperf_vel_1bar_med",
    "music_transformer",
    "music_transformer_melody",
    "music_transformer_jsb",
    "musenet_tiny",
)


def sequence(*notes, qpm=120.0):
    """Returns notes (pitch, start, end, program, instrument, is_drum), times in seconds."""
    made = music_pb2.NoteSequence()
    made.tempos.add(qpm=qpm)
    for pitch, start, end, program, instrument, is_drum in notes:
        made.notes.add(
            pitch=pitch,
            velocity=80,
            start_time=start,
            end_time=end,
            program=program,
            instrument=instrument,
            is_drum=is_drum,
        )
    return made


def read(midi):
    """Returns (pitch, velocity, program, is_drum, start) of all notes, as symusic reads them."""
    return sorted(
        (note.pitch, note.velocity, track.program, track.is_drum, note.time)
        for track in symusic.Score.from_midi(midi).to("second").tracks
        for note in track.notes
    )


def same_notes(midi, notes):
    """Asserts that a MIDI file has these notes of a NoteSequence and no others."""
    found = read(midi)
    expected = sorted((n.pitch, n.velocity, n.program, n.is_drum, n.start_time) for n in notes)
    assert [note[:-1] for note in found] == [note[:-1] for note in expected]
    np.testing.assert_allclose([n[-1] for n in found], [n[-1] for n in expected], atol=2e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_note_of_any_model_is_lost(name):
    converter = build_converter(get_config(name).converter)
    (events,) = made_up_events(converter.event_format, 1, min(converter.window_steps, 512), seed=1)
    decoded = converter.decode(events, qpm=97.0)
    assert len(decoded.notes) > 3
    same_notes(midi_bytes(decoded), decoded.notes)


def test_programs_that_share_an_instrument_keep_their_notes():
    made = sequence((60, 0, 1, 0, 0, False), (62, 1, 2, 40, 0, False), (36, 0, 1, 0, 0, True))
    same_notes(midi_bytes(made), made.notes)
    assert [track.name for track in tracks_of(made)] == ["Acoustic Grand Piano", "Drums", "Violin"]


def test_repeated_overlapping_and_endless_notes_are_all_there():
    made = sequence(
        *((60, i / 4, (i + 1) / 4, 0, 0, False) for i in range(8)),  # one ends as the next begins
        *((72, 0, 2, 0, 0, False), (72, 1, 3, 0, 0, False), (72, 1, 3, 0, 0, False)),
        (50, 1, 1, 0, 0, False),  # of no length
        *((0, 0, 600, 0, 0, False), (127, 599, 600, 0, 0, False)),
    )
    same_notes(midi_bytes(made), made.notes)


@pytest.mark.parametrize("count", [15, 16, 40])
def test_every_one_of_many_instruments_has_a_channel_of_its_port(count):
    made = sequence(*((60, 0, 1, i, i, False) for i in range(count)), (36, 0, 1, 0, 99, True))
    midi = midi_bytes(made)
    same_notes(midi, made.notes)
    places = []
    for track in mido.MidiFile(file=io.BytesIO(midi)).tracks[1:]:
        port = next((message.port for message in track if message.type == "midi_port"), 0)
        places.append((port, next(m.channel for m in track if m.type == "note_on")))
    assert len(set(places)) == count + 1
    assert [channel for _, channel in places].count(9) == 1  # the drums


def test_other_libraries_read_names_tempo_meter_title_and_texts():
    converter = build_converter(get_config("hierdec-trio_16bar").converter)
    (events,) = made_up_events(converter.event_format, 1, 64)
    trio = converter.decode(events, qpm=97.0, programs=(40, 32))
    title, about = "trio-sample-1", "magenta_lite hierdec-trio_16bar, seed 17 é"
    midi = midi_bytes(trio, title, [about])

    pretty = pretty_midi.PrettyMIDI(io.BytesIO(midi))
    found = [(i.name, i.program, i.is_drum, len(i.notes)) for i in pretty.instruments]
    counts = np.bincount([note.instrument for note in trio.notes])
    assert found == [
        ("Melody", 40, False, counts[0]),
        ("Bass", 32, False, counts[1]),
        ("Drums", 0, True, counts[9]),
    ]
    np.testing.assert_allclose(pretty.get_tempo_changes(), [[0], [97]], rtol=1e-5)
    (meter,) = pretty.time_signature_changes
    assert (meter.numerator, meter.denominator) == (4, 4)

    head = mido.MidiFile(file=io.BytesIO(midi), charset="utf-8").tracks[0]
    assert head.name == title
    assert [message.text for message in head if message.type == "text"] == [about]
    score = symusic.Score.from_midi(midi)
    assert [track.name for track in score.tracks] == ["Melody", "Bass", "Drums"]
    assert score.tempos[0].qpm == pytest.approx(97, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("attention_rnn", {"Melody"}),
        ("music_transformer", {"Acoustic Grand Piano"}),
        ("music_transformer_jsb", {"Soprano", "Alto", "Tenor", "Bass"}),
        ("groovae_2bar_humanize", {"Drums"}),
    ],
)
def test_tracks_are_called_after_parts_or_instruments(name, names):
    converter = build_converter(get_config(name).converter)
    (events,) = made_up_events(converter.event_format, 1, min(converter.window_steps, 256))
    assert {track.name for track in tracks_of(converter.decode(events))} == names


def test_what_is_marked_becomes_a_marker_and_chords_become_texts():
    made = sequence((60, 0, 4, 0, 0, False), qpm=90.0)
    add_marker(made, "continuation", 2.0)
    chord = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL
    made.text_annotations.add(time=1.0, text="Am", annotation_type=chord)
    midi = midi_bytes(made)
    (marker,) = symusic.Score.from_midi(midi).to("second").markers
    assert marker.text == "continuation"
    assert marker.time == pytest.approx(2, abs=2e-3)
    (text,) = pretty_midi.PrettyMIDI(io.BytesIO(midi)).text_events
    assert (text.text, text.time) == ("Am", pytest.approx(1, abs=2e-3))


def test_tempo_changes_meters_keys_pedals_and_bends_are_kept():
    made = sequence((60, 0, 1, 40, 3, False), (60, 5, 6, 40, 3, False), qpm=60.0)
    made.tempos.add(qpm=150, time=2)
    made.time_signatures.add(numerator=3, denominator=4)
    made.time_signatures.add(numerator=6, denominator=8, time=3)
    made.time_signatures.add(numerator=5, denominator=0, time=4)  # impossible
    made.key_signatures.add(key=9, mode=made.key_signatures.add().MINOR, time=1)
    made.control_changes.add(time=1, control_number=64, control_value=127, instrument=3, program=40)
    # Names no program: meant for what the instrument plays.
    made.control_changes.add(time=2, control_number=64, control_value=0, instrument=3)
    made.pitch_bends.add(time=1, bend=-8192, instrument=3, program=40)
    pretty = pretty_midi.PrettyMIDI(io.BytesIO(midi_bytes(made)))
    (violin,) = pretty.instruments
    np.testing.assert_allclose([n.start for n in violin.notes], [0, 5], atol=2e-3)
    np.testing.assert_allclose(pretty.get_tempo_changes(), [[0, 2], [60, 150]], rtol=1e-3)
    meters = [(m.numerator, m.denominator) for m in pretty.time_signature_changes]
    assert meters == [(3, 4), (6, 8)]
    assert [key.key_number for key in pretty.key_signature_changes] == [0, 21]  # C and A minor
    pedals = [(c.number, c.value, round(c.time, 2)) for c in violin.control_changes]
    assert pedals == [(64, 127, 1), (64, 0, 2)]
    assert [(bend.pitch, round(bend.time, 2)) for bend in violin.pitch_bends] == [(-8192, 1)]


def test_a_file_lasts_as_long_as_its_piece_and_may_be_empty():
    made = sequence((60, 0, 1, 0, 0, False))
    made.total_time = 8
    assert mido.MidiFile(file=io.BytesIO(midi_bytes(made))).length == pytest.approx(8)
    empty = midi_bytes(music_pb2.NoteSequence())
    assert read(empty) == []
    assert mido.MidiFile(file=io.BytesIO(empty)).length == 0
