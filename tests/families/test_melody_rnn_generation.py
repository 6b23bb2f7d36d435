"""Primers, lengths and what is written, as `generate` asks a MelodyRNN for it."""

import dataclasses

import keras
import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.melody_rnn.generation import steps_to_add
from magenta_lite.families.melody_rnn.options import MelodyRNNOptions
from magenta_lite.families.melody_rnn.primers import MelodyPrimer, parse_melody


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    config = get_config("attention_rnn_tiny", ["model.units=[8,8]", "model.attention_length=4"])
    converter = build_converter(config.converter)
    return build_model(config, converter), converter


def generate(model, converter, options):
    return model.generate(options, converter)


def request(**changes):
    defaults = {
        "mode": "sample",
        "inputs": [],
        "window": "1",
        "num_outputs": 2,
        "temperature": 1.0,
        "seed": 0,
        "qpm": 120.0,
        "num_steps": 32,
    }
    return MelodyRNNOptions(**(defaults | changes))


def tune(*instruments, qpm=90):
    """Quarters of each of several instruments, side by side; a tuple of pitches is a chord."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=qpm)
    for number, pitches in enumerate(instruments):
        for i, chord in enumerate(pitches):
            for pitch in chord if isinstance(chord, tuple) else (chord,):
                sequence.notes.add(
                    pitch=pitch,
                    velocity=90,
                    start_time=i * 60 / qpm,
                    end_time=(i + 1) * 60 / qpm,
                    instrument=number,
                    program=10 + number,
                )
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


def pitches_of(sequence, count):
    return [note.pitch for note in sequence.notes][:count]


def test_a_typed_primer_comes_back_as_it_was_given(trained):
    outputs = generate(*trained, request(primer_melody="[30, -2, 95, -2, 61]"))
    assert len(outputs) == 2
    for sequence in outputs:
        assert pitches_of(sequence, 3) == [30, 95, 61]
        assert sequence.total_time <= 32 / 8
        assert {note.program for note in sequence.notes} == {0}


def test_without_a_primer_middle_c_begins(trained):
    assert all(pitches_of(sequence, 1) == [60] for sequence in generate(*trained, request()))


def test_a_primer_may_come_from_a_file_with_its_tempo(trained, capsys):
    given = tune([40, (48, 52), 55, 59], [72, 74, 76], qpm=90)
    outputs = generate(*trained, request(inputs=[("a.mid", given)]))
    assert pitches_of(outputs[0], 3) == [72, 74, 76]
    assert outputs[0].tempos[0].qpm == 90
    told = capsys.readouterr().out
    assert "Primer: bar 1 of track 2 (Vibraphone), 3 notes\n" in told
    assert "a.mid has other tracks: --window=2 for track 1 (Music Box)" in told
    (other, _) = generate(*trained, request(inputs=[("a.mid", given)], window="2"))
    assert pitches_of(other, 4) == [40, 52, 55, 59]
    assert "4 notes, the highest of 5" in capsys.readouterr().out
    faster = request(inputs=[("a.mid", given)], qpm=150.0, qpm_given=True)
    assert generate(*trained, faster)[0].tempos[0].qpm == 150


def band(bars=12, names=("Bass", "Chords", "Lead")):
    """Returns a song of 120 quarters a minute with a bass, chords, a lead and drums."""
    lead = [60 + (5 * i + i // 4) % 17 for i in range(4 * bars)]
    song = tune([40, 43] * (2 * bars), [(55, 60, 64)] * (4 * bars), lead, qpm=120)
    for number, name in enumerate(names):
        song.instrument_infos.add(instrument=number, name=name)
    for i in range(4 * bars):
        song.notes.add(
            pitch=36,
            velocity=90,
            start_time=i / 2,
            end_time=i / 2 + 0.1,
            instrument=3,
            is_drum=True,
        )
    return song, lead


def markers(sequence):
    """Returns text and place of each marker."""
    unknown = music_pb2.NoteSequence.TextAnnotation.UNKNOWN
    found = [a for a in sequence.text_annotations if a.annotation_type == unknown]
    return [(a.text, round(a.time, 6)) for a in found]


@pytest.mark.parametrize(
    ("changes", "bars"),
    [
        ({}, "bars 9-12"),  # half of the usual length
        ({"num_steps": 96}, "bars 10-12"),
        ({"num_steps": 200}, "bars 1-12"),  # there is room for all
        ({"primer_bars": 1}, "bar 12"),
        ({"primer_bars": 99, "num_steps": 200}, "bars 1-12"),
        ({"new_steps": 8}, "bars 1-12"),
    ],
)
def test_a_song_is_gone_on_from_its_last_bars(trained, changes, bars, capsys):
    song, lead = band()
    asked = request(**{"num_steps": None, "inputs": [("a.mid", song)], "num_outputs": 1} | changes)
    (piece,) = generate(*trained, asked)
    first, _, last = bars.split()[1].partition("-")
    count = int(last or first) - int(first) + 1
    assert pitches_of(piece, 4 * count) == lead[4 * (int(first) - 1) :]
    told = capsys.readouterr().out
    assert f"Primer: {bars} of track 3 'Lead', {4 * count} notes\n" in told
    assert "--window=2 for track 2 'Chords', --window=3 for track 1 'Bass'" in told
    assert markers(piece) == [("continuation", 2.0 * count)]
    (new,) = generate(*trained, dataclasses.replace(asked, only_new=True))
    assert markers(new) == []


def test_a_song_may_change_its_tempo_and_its_meter(trained, capsys):
    song, lead = band(6)
    song.tempos.add(time=11, qpm=60)  # a ritardando in the last bar
    for note in song.notes:
        for name in ("start_time", "end_time"):
            late = max(getattr(note, name) - 11, 0)
            setattr(note, name, getattr(note, name) + late)
    song.time_signatures.add(numerator=4, denominator=4)
    song.time_signatures.add(time=4, numerator=2, denominator=4)
    asked = request(inputs=[("a.mid", song)], num_steps=None, num_outputs=1, primer_bars=3)
    (piece,) = generate(*trained, asked)
    assert pitches_of(piece, 6) == lead[-6:]
    assert "bars 8-10 of track 3" in capsys.readouterr().out
    assert piece.tempos[0].qpm == 120


def test_typed_primers_are_marked_where_they_end_and_nothing_is_without(trained):
    asked = {"primer_melody": "[60, -2, 62, -2]", "num_outputs": 1, "qpm": 60.0}
    (piece,) = generate(*trained, request(**asked))
    assert markers(piece) == [("continuation", 1.0)]
    assert markers(generate(*trained, request())[0]) == []


def test_only_what_is_new_can_be_written(trained):
    whole, _ = generate(*trained, request(primer_melody="[60, 62, 64, 65]", qpm=60.0))
    new, _ = generate(*trained, request(primer_melody="[60, 62, 64, 65]", qpm=60.0, only_new=True))
    later = [(n.pitch, n.start_time - 1) for n in whole.notes if n.start_time >= 1]
    assert [(n.pitch, n.start_time) for n in new.notes] == later


def test_steps_are_counted_with_or_without_the_primer():
    assert steps_to_add(request(num_steps=None), 8, 128) == 120
    assert steps_to_add(request(num_steps=20), 8, 128) == 12
    assert steps_to_add(request(num_steps=None, new_steps=20), 8, 128) == 20


def test_magenta_timing_ends_the_primer_with_silence(trained):
    (sequence, _) = generate(*trained, request(primer_melody="[60, -2]", magenta_timing=True))
    assert (sequence.notes[0].start_time, sequence.notes[0].end_time) == (0, 0.25)
    assert all(note.start_time >= 0.5 for note in sequence.notes[1:])
    wide = request(primer_melody="[30, 60, 95]", magenta_timing=True)
    assert pitches_of(generate(*trained, wide)[0], 3) == [54, 60, 71]


def test_searches_give_the_outputs_asked_for(trained):
    sampled = request(beam_size=2, branch_factor=3, steps_per_iteration=4)
    assert len(generate(*trained, sampled)) == 2
    assert len(generate(*trained, request(best_beam=True, beam_size=3))) == 2


def test_the_same_seed_gives_the_same_music(trained):
    first, again, other = (generate(*trained, request(seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"primer_melody": "[60, 200]"}, "200; events are MIDI pitches from 0 to 127"),
        ({"primer_melody": "[60, -3]"}, "-3; events are"),
        ({"primer_melody": "[]"}, "empty; leave it out"),
        ({"primer_melody": "60 62"}, "60 62 is not a list like [60, -2"),
        ({"primer_melody": "[60.5]"}, "is not a list like"),
        ({"primer_melody": "[60]" + " " * 3, "inputs": [("a", None)]}, "give one of them"),
        ({"primer_melody": str([60] * 40)}, "num_steps=32 counts the primer, which has 40 steps"),
        ({"new_steps": 4}, "num_steps=32 counts the primer and --new_steps=4 does not"),
        ({"mode": "continue"}, "needs a primer"),
        ({"primer_drums": "[(36,)]"}, "--primer_drums means nothing to this melody_rnn model"),
        ({"backing_chords": "C"}, "--backing_chords means nothing to this melody_rnn model"),
        ({"best_beam": True, "num_outputs": 2}, "at most --beam_size=1 outputs"),
        ({"beam_size": 2, "best_beam": True, "top_k": 3}, "does not sample"),
        ({"inputs": [("a.mid", tune([60, 62]))], "window": "2"}, "melodies 1 to 1"),
        ({"inputs": [("a.mid", tune([60])), ("b.mid", tune([60]))]}, "2 --input files"),
        ({"primer_bars": 2}, "--primer_bars is how much of --input=FILE"),
        ({"primer_seconds": 2.0}, "--primer_seconds means nothing"),
    ],
)
def test_what_cannot_be_continued_is_said_in_one_line(trained, changes, words):
    with pytest.raises(UserError) as caught:
        generate(*trained, request(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_drums_is_no_primer(trained):
    drums = tune([36, 38])
    for note in drums.notes:
        note.is_drum = True
    with pytest.raises(UserError, match=r"no melody to continue: drum note \(2\)"):
        MelodyPrimer(trained[1], request(inputs=[("a.mid", drums)]))


def test_typed_note_offs_before_the_first_note_are_no_events():
    assert parse_melody("(-1, 60, -1, -2)") == [-2, 60, -1, -2]
