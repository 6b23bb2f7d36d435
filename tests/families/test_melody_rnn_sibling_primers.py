"""Primers and chords, as `generate` asks the siblings of MelodyRNN for them."""

import dataclasses

import keras
import numpy as np
import pytest
from note_seq.protobuf import music_pb2
from test_melody_rnn_generation import band, generate, markers, pitches_of, request, tune

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.melody_rnn.backing_chords import BackingChords
from magenta_lite.families.melody_rnn.primers import DrumsPrimer, MelodyPrimer, PerformancePrimer

SYMBOL = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL


def make(name):
    keras.utils.set_random_seed(0)
    config = get_config(name, ["model.units=[8]", "model.attention_length=0"])
    converter = build_converter(config.converter)
    return build_model(config, converter), converter


@pytest.fixture(scope="module")
def drums():
    return make("drum_kit_rnn_tiny")


@pytest.fixture(scope="module")
def improv():
    return make("basic_improv_tiny")


@pytest.fixture(scope="module")
def performance():
    return make("performance_with_dynamics_tiny")


def told(model, changes, words):
    with pytest.raises(UserError) as caught:
        generate(*model, request(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# Drums --------------------------------------------------------------------------------------


def test_typed_drums_come_back_as_they_were_given(drums):
    for sequence in generate(*drums, request(primer_drums="[(36,), (), (42, 36), [38]]")):
        first = [(n.pitch, n.start_time) for n in sequence.notes if n.start_time < 0.5]
        assert first == [(36, 0), (36, 0.25), (42, 0.25), (38, 0.375)]
        assert all(note.is_drum for note in sequence.notes)
        assert sequence.total_time <= 32 / 8


def test_without_drums_a_kick_begins(drums):
    assert list(DrumsPrimer(drums[1], request()).ids) == [1]


def test_drums_may_come_from_a_file_with_its_tempo(drums, capsys):
    given = tune([36, (36, 42), 38], qpm=90)
    for note in given.notes:
        note.is_drum = True
    primer = DrumsPrimer(drums[1], request(inputs=[("a.mid", given)]))
    assert list(primer.ids) == [1, 0, 0, 0, 5, 0, 0, 0, 2]
    assert primer.qpm == 90
    assert "Primer: bar 1 of the drums, 3 steps hit" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no drums to continue: note that is not for drums \(1"):
        DrumsPrimer(drums[1], request(inputs=[("a.mid", tune([60]))]))


def test_drums_of_a_song_are_gone_on_from_their_last_bars(drums, capsys):
    asked = request(inputs=[("a.mid", band()[0])], num_steps=None, num_outputs=1)
    (piece,) = generate(*drums, asked)
    assert "Primer: bars 9-12 of the drums, 16 steps hit" in capsys.readouterr().out
    # To the last hit, not to the end of its bar.
    assert markers(piece) == [("continuation", 61 / 8)]


def test_only_new_drums_can_be_written(drums):
    asked = {"primer_drums": "[(36,), (36,), (36,), (36,)]"}
    whole, _ = generate(*drums, request(**asked))
    new, _ = generate(*drums, request(**asked, only_new=True))
    assert [(n.pitch, n.start_time + 0.5) for n in new.notes] == [
        (n.pitch, n.start_time) for n in whole.notes if n.start_time >= 0.5
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"primer_drums": "[(36,), (25,)]"}, "--primer_drums has 25, which is not a drum"),
        ({"primer_drums": "[([36],)]"}, "has [36], which is not a drum"),
        ({"primer_drums": "[36, 42]"}, "is not a list like [(36,), (), (42,)]"),
        ({"primer_drums": "[]"}, "empty"),
        ({"primer_melody": "[60]"}, "--primer_melody means nothing to this melody_rnn model"),
        ({"render_chords": True}, "--render_chords means nothing to this melody_rnn model"),
        ({"magenta_timing": True}, "--magenta_timing means nothing to this melody_rnn model"),
        ({"mode": "continue"}, "--input=FILE or --primer_drums=[(36,), (), (42,)]"),
    ],
)
def test_drums_that_cannot_be_continued_are_told_in_one_line(drums, changes, words):
    told(drums, changes, words)


# Melodies over chords -----------------------------------------------------------------------


def test_chords_have_equal_lengths_and_are_written_as_symbols(improv):
    asked = request(backing_chords="C G | Am7, F", steps_per_chord=8, num_steps=None)
    (sequence, _) = generate(*improv, asked)
    symbols = [(a.text, a.time) for a in sequence.text_annotations if a.annotation_type == SYMBOL]
    assert symbols == [("C", 0), ("G", 1), ("Am7", 2), ("F", 3)]
    assert {note.program for note in sequence.notes} == {0}
    assert max(note.end_time for note in sequence.notes) <= 4


def test_chords_are_written_as_notes_where_that_is_asked_for(improv):
    asked = {"backing_chords": "C G", "steps_per_chord": 16}
    plain, _ = generate(*improv, request(**asked))
    (sequence, _) = generate(*improv, request(**asked, render_chords=True))
    added = [note for note in sequence.notes if note not in list(plain.notes)]
    assert {note.pitch % 12 for note in added if note.start_time == 0} == {0, 4, 7}
    assert {note.pitch % 12 for note in added if note.start_time == 2} == {2, 7, 11}
    assert {note.end_time for note in added} == {2, 4}


def test_chords_begin_with_the_primer_and_end_with_the_piece(improv):
    asked = request(
        backing_chords="C G Am F", steps_per_chord=8, primer_melody=str([60] * 12), only_new=True
    )
    (sequence, _) = generate(*improv, asked)
    symbols = [(a.text, a.time) for a in sequence.text_annotations]
    assert symbols == [("G", 0), ("Am", 0.5), ("F", 1.5)]


def chords_of(improv, **changes):
    asked = request(**changes)
    return BackingChords(improv[1], asked, MelodyPrimer(improv[1], asked))


def test_each_step_has_the_chord_that_was_written(improv):
    backing = chords_of(improv, backing_chords="C Am", steps_per_chord=3)
    assert backing.ids(5).tolist() == [1, 1, 1, 22, 22]
    assert backing.ids(5, semitones=2).tolist() == [3, 3, 3, 24, 24]
    usual = chords_of(improv)
    assert np.array_equal(usual.ids(256)[128:], usual.ids(128))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backing_chords": "C H"}, "chord 2, 'H', cannot be read; write chords like C, Am"),
        ({"backing_chords": " | "}, "has no chords"),
        (
            {"backing_chords": "C G C", "steps_per_chord": 8},
            "3 chords of 8 steps, 24 in all, for 32 steps of music; give --steps_per_chord=11 or",
        ),
        ({"primer_pitches": "[60]"}, "--primer_pitches means nothing to this melody_rnn model"),
    ],
)
def test_impossible_chords_are_told_in_one_line(improv, changes, words):
    told(improv, changes, words)


def test_chords_of_a_song_go_round(improv, capsys):
    """From its last bars on, and then from its first."""
    song, _ = band(6)
    for bar, symbol in enumerate(["C", "Am", "F", "C7", "Dm", "G7"]):
        song.text_annotations.add(time=2 * bar, text=symbol, annotation_type=SYMBOL)
    asked = request(
        inputs=[("a.mid", song)], num_steps=None, new_steps=50, primer_bars=2, num_outputs=1
    )
    (piece,) = generate(*improv, asked)
    found = [(a.text, a.time) for a in piece.text_annotations if a.annotation_type == SYMBOL]
    assert found == [("Dm", 0), ("G7", 2), ("C", 4), ("Am", 6), ("F", 8), ("C7", 10)]
    assert markers(piece) == [("continuation", 4)]
    assert "Chords: 6 of a.mid; after its 6 bars they begin anew" in capsys.readouterr().out
    given = dataclasses.replace(asked, backing_chords="em D", steps_per_chord=64)
    (piece,) = generate(*improv, given)
    found = [a.text for a in piece.text_annotations if a.annotation_type == SYMBOL]
    assert found == ["Em", "D"]
    song.text_annotations[3].text = "H"
    told(improv, {"inputs": [("a.mid", song)], "num_steps": None}, "a.mid: 'H' is a chord symbol")


def test_a_song_without_chords_is_told_which_there_are(improv, capsys):
    generate(*improv, request(inputs=[("a.mid", band(2)[0])], num_steps=48, num_outputs=1))
    said = capsys.readouterr().out
    assert "a.mid has no chord symbols; the chords are C G Am F C G F C: --backing_chords" in said


def test_suspended_chords_are_chords(improv):
    backing = chords_of(improv, backing_chords="am Gsus4 N.C.", steps_per_chord=1)
    assert backing.ids(3).tolist() == [22, 8, 0]


# Performances -------------------------------------------------------------------------------


def test_a_typed_chord_is_played_for_a_quarter(performance):
    asked = {"primer_pitches": "[64, 60, 67]", "num_steps": 200}
    for sequence in generate(*performance, request(**asked)):
        assert sorted(pitches_of(sequence, 3)) == [60, 64, 67]
        assert {note.start_time for note in sequence.notes[:3]} == {0}
        assert {note.end_time for note in sequence.notes[:3]} == {0.5}
        assert sequence.total_time <= 2.0
    whole = generate(*performance, request(**asked))[0]
    new = generate(*performance, request(**asked, only_new=True))[0]
    assert [n.pitch for n in new.notes] == [n.pitch for n in whole.notes if n.start_time >= 0.5]


def test_a_typed_melody_is_played_in_16ths(performance):
    primer = PerformancePrimer(performance[1], request(primer_melody="[60, -2, 62, -1]"))
    assert primer.steps == 38  # 0.375 s
    notes = performance[1].decode(primer.ids).notes
    assert [(n.pitch, n.start_time, n.end_time) for n in notes] == [(60, 0, 0.25), (62, 0.25, 0.38)]


def test_a_performance_may_come_from_a_file(performance, capsys):
    asked = request(inputs=[("a.mid", tune([60, 62], [48]))], num_steps=None)
    primer = PerformancePrimer(performance[1], asked)
    assert (len(primer.ids), primer.steps) == (9, 133)
    assert "Primer: a.mid, 1.3 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 15.0),
        ({"primer_seconds": 3.0}, 3.0),
        ({"primer_bars": 2}, 4.0),
        ({"num_steps": 1000}, 5.0),
        ({"num_steps": 5000}, 24.0),
        ({"new_steps": 10}, 24.0),
        ({"primer_seconds": 0.01}, 0.5),  # a note must begin in it
    ],
)
def test_a_long_performance_is_gone_on_from_its_last_seconds(performance, changes, seconds, capsys):
    song, _ = band()
    asked = request(**{"inputs": [("a.mid", song)], "num_steps": None} | changes)
    primer = PerformancePrimer(performance[1], asked)
    assert primer.steps == round(100 * seconds)
    whole = "Primer: a.mid, 24.0 s" if seconds == 24 else f"the last {seconds} of 24.0 s of a.mid"
    assert whole in capsys.readouterr().out
    assert markers(primer.music(primer.ids, 120.0, 10)) == [("continuation", seconds)]


def test_without_a_primer_a_second_of_silence_begins(performance):
    primer = PerformancePrimer(performance[1], request())
    assert (primer.ids, primer.steps, primer.usual_steps) == ([355], 100, 3000)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"primer_pitches": "[60, 128]"}, "--primer_pitches has 128; MIDI pitches go from 0 to"),
        ({"primer_pitches": "[60]", "num_steps": 50}, "counts the primer, which has 50 steps"),
        ({"primer_pitches": "[60]", "primer_melody": "[60]"}, "both give a primer"),
        ({"primer_melody": "[-2]"}, "has no notes to continue: no notes"),
        (
            {"inputs": [("a", None)], "primer_bars": 1, "primer_seconds": 1.0},
            "both say how much; leave one out",
        ),
        ({"beam_size": 2}, "--beam_size means nothing to this melody_rnn model"),
        ({"primer_drums": "[(36,)]"}, "--primer_drums means nothing to this melody_rnn model"),
    ],
)
def test_impossible_performances_are_told_in_one_line(performance, changes, words):
    told(performance, changes, words)
