"""Which track of a song is its melody, and songs whose tempo changes."""

import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.converters.grid import (
    at_one_tempo,
    seconds_at,
    split_on_time_changes,
    step_at,
    stretches,
    tempo_map,
)
from magenta_lite.converters.melody_tracks import melodic_tracks
from magenta_lite.converters.score import Score


def song(**tracks):
    """Returns a song of half seconds: of each track program, name and chords of pitches."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=120)
    for number, (program, name, chords) in enumerate(tracks.values()):
        if name:
            sequence.instrument_infos.add(instrument=number, name=name)
        for i, chord in enumerate(chords):
            for pitch in chord if isinstance(chord, tuple) else (chord,):
                note = sequence.notes.add(pitch=pitch, velocity=80, program=program)
                note.instrument, note.is_drum = number, program < 0
                note.start_time, note.end_time = i / 2, (i + 1) / 2
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


BASS, CHORDS, HIGH = [36, 43] * 8, [(60, 64, 67)] * 16, [72, 74, 76, 77] * 4
DRUMS = (-1, "Lead Drums", [36] * 40)


@pytest.mark.parametrize(
    ("tracks", "found"),
    [
        ([(33, "Bass", BASS), (0, "Chords", CHORDS), (73, "Lead", HIGH)], "track 3 'Lead'"),
        ([(0, "", BASS), (0, "", CHORDS), (73, "", HIGH)], "track 3 (Flute)"),
        # A name says more than the register; drums are never the melody.
        ([(48, "High Strings Pad", HIGH), (0, "Vocals", [55, 57] * 8)], "track 2 'Vocals'"),
        ([DRUMS, (33, "", BASS), (0, "", CHORDS)], "track 3 (Acoustic Grand Piano)"),
        # A few high notes are an ornament.
        ([(73, "", [84, 86]), (65, "", [64, 65, 67] * 8)], "track 2 (Alto Sax)"),
        ([(33, "", BASS)], "track 1 (Electric Bass (finger))"),
    ],
)
def test_the_melody_is_found(tracks, found):
    sequence = song(**{str(i): track for i, track in enumerate(tracks)})
    ranked = melodic_tracks(sequence)
    assert ranked[0].name == found
    alone = ranked[0].alone(sequence)
    assert {note.instrument for note in alone.notes} == {ranked[0].instrument}
    assert len(ranked) == len(tracks) - (DRUMS in tracks)


def test_a_song_without_notes_has_no_melody():
    assert melodic_tracks(music_pb2.NoteSequence()) == []


def test_a_ritardando_does_not_cut_a_song():
    piece = song(lead=(0, "", [60] * 16))
    piece.tempos.add(time=6, qpm=60)
    piece.text_annotations.add(time=7, text="here")
    piece.pitch_bends.add(time=8, bend=100)
    for note in list(piece.notes)[12:]:  # the last four quarters take a second each
        late = note.start_time - 6
        note.start_time, note.end_time = 6 + 2 * late, 7 + 2 * late
    piece.total_time = 10
    assert len(split_on_time_changes(piece)) == 2
    assert len(stretches(piece)) == 1
    score = at_one_tempo(Score.of(piece))
    (whole,) = stretches(score)
    even = score.sequence()
    assert whole.qpm == 120 and even.total_time == 8
    assert [note.start_time for note in even.notes] == [i / 2 for i in range(16)]
    assert even.text_annotations[0].time == 6.5
    assert even.pitch_bends[0].time == 7
    tempos = tempo_map(piece, 1)
    for seconds in (0, 3.5, 6, 8.25):
        assert seconds_at(tempos, step_at(tempos, seconds)) == pytest.approx(seconds)
    score = Score.of(song(lead=(0, "", [60])))
    assert at_one_tempo(score) is score
