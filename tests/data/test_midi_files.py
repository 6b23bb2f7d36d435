"""MIDI files as they are found: what is odd in them is read right, what is damaged is refused."""

import struct

import pytest
from midi_songs import END, SCALE, delta, file, off, on, track

from magenta_lite.converters.base import Report
from magenta_lite.converters.pedal import with_sustain
from magenta_lite.data import formats
from magenta_lite.data.midi_files import midi_to_sequence
from magenta_lite.errors import UnreadableError


def notes(data):
    """Returns (pitch, start, length) of the notes in quarter notes, in order."""
    return sorted(
        (note.pitch, note.start_time * 2, (note.end_time - note.start_time) * 2)
        for note in midi_to_sequence(data).notes
    )


SCALE_NOTES = [(60, 0, 1), (62, 1, 1)]


# Where notes end ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # Overlapping notes of a key with a note-off each.
        ([(0, on(60)), (480, on(60)), (48, off(60)), (432, off(60))], [(0, 1.1), (1, 1)]),
        ([(0, on(60)), (480, on(60)), (0, off(60)), (480, off(60))], [(0, 1), (1, 1)]),
        ([(0, on(60)), (0, on(60)), (240, off(60)), (240, off(60))], [(0, 0.5), (0, 1)]),
        # Fewer note-offs than notes.
        ([(0, on(60)), (480, on(60)), (480, on(60)), (480, off(60))], [(0, 1), (1, 1), (2, 1)]),
        ([(0, on(60)), (480, on(60)), (480, off(60))], [(0, 1), (1, 1)]),
        ([(0, on(60)), (0, on(60)), (480, off(60))], [(0, 1)]),
        (
            [(0, on(60)), (480, on(60)), (480, on(60)), (48, off(60)), (432, off(60))],
            [(0, 1), (1, 1.1), (2, 1)],
        ),
        # More note-offs than notes.
        (
            [
                (0, off(60)),
                (0, on(60)),
                (480, off(60)),
                (480, off(60)),
                (0, on(60)),
                (480, off(60)),
            ],
            [(0, 1), (2, 1)],
        ),
        # Note-ons of velocity 0 end notes; a note-on of another channel does not.
        ([(0, on(60)), (480, on(60, velocity=0))], [(0, 1)]),
        (
            [(0, on(60)), (480, on(60, channel=1)), (480, off(60)), (0, off(60, 1))],
            [(0, 2), (1, 1)],
        ),
        # All notes off, and all sound off; but not before the note.
        ([(0, [0xB0, 123, 0]), (0, on(60)), (480, [0xB0, 123, 0]), (480, off(60))], [(0, 1)]),
        ([(0, on(60)), (480, [0xB0, 120, 0])], [(0, 1)]),
        ([(0, on(60)), (480, [0xB1, 123, 0]), (480, off(60))], [(0, 2)]),
        ([(0, on(60)), (480, [0xB0, 121, 0]), (480, off(60))], [(0, 2)]),
    ],
)
def test_ends_of_notes_of_a_key(events, expected):
    found = notes(file(track(*events, END)))
    assert [note[1:] for note in found] == pytest.approx([pytest.approx(note) for note in expected])


def test_a_note_that_nothing_ends_lasts_to_the_end_of_its_track():
    data = file(
        track((0, on(60)), (480, on(62)), (480, off(62)), (960, END[1])),
        track((0, on(72, 1)), (9600, END[1])),
    )
    assert notes(data) == [(60, 0, 4), (62, 1, 1), (72, 0, 20)]


def test_a_drum_hit_that_nothing_ends_is_short():
    hits = [(0, on(36, 9)), (480, on(36, 9)), (48, on(36, 9)), (48, on(38, 9)), (960, END[1])]
    expected = [(36, 0, 0.25), (36, 1, 0.1), (36, 1.1, 0.25), (38, 1.2, 0.25)]
    assert notes(file(track(*hits))) == [pytest.approx(note) for note in expected]


def test_a_note_without_an_end_does_not_cost_a_long_file():
    data = file(track((0, on(60)), (0, on(62)), (480, off(62)), (1200 * 960, END[1])))
    sequence = formats.checked(midi_to_sequence(data), "", Report())
    assert [note.end_time for note in sequence.notes] == [600, 0.5]


# Channels -----------------------------------------------------------------------------------------


def parts(data):
    """Returns the program of each instrument and its pitches."""
    found = {}
    for note in midi_to_sequence(data).notes:
        found.setdefault((note.instrument, note.program, note.is_drum), []).append(note.pitch)
    return [
        (program, is_drum, *found[i, program, is_drum]) for i, program, is_drum in sorted(found)
    ]


def test_programs_belong_to_channels():
    setup = track((0, [0xC0, 73]), (0, [0xC1, 33]), (480, [0xC0, 40]), END)
    first = track((0, on(60)), (240, off(60)), (240, on(62)), (480, off(62)), END)
    second = track((0, on(40, 1)), (480, off(40, 1)), END)
    assert parts(file(setup, first, second)) == [(40, False, 62), (73, False, 60), (33, False, 40)]
    # It is set in the track behind, or in another pattern.
    assert parts(file(second, setup)) == [(33, False, 40)]
    assert parts(file(setup, second, format=2)) == [(33, False, 40)]


def test_a_program_behind_a_note_at_the_same_time_is_for_the_next():
    events = [(0, [0xC0, 5]), *SCALE[:1], (480, off(60)), (0, on(62)), (0, [0xC0, 6])]
    events += [(480, off(62)), (0, on(64)), (480, off(64)), END]
    assert parts(file(track(*events))) == [(5, False, 60, 62), (6, False, 64)]


def test_tracks_that_share_a_channel():
    right = track((0, [0xC0, 6]), *SCALE)
    left = track((0, on(40)), (480, off(40)), END)
    assert parts(file(right, left)) == [(6, False, 60, 62), (6, False, 40)]
    # Each has a program of its own at the same time.
    left = track((0, [0xC0, 32]), (0, on(40)), (480, off(40)), END)
    assert parts(file(right, left)) == [(6, False, 60, 62), (32, False, 40)]


def test_a_track_of_several_channels_has_an_instrument_for_each_and_each_program():
    events = [(0, [0xC3, 9])]
    for pitch, channel in ((60, 3), (61, 1), (36, 9)):
        events += [(0, on(pitch, channel)), (480, off(pitch, channel))]
    events += [(0, [0xC3, 5]), (0, on(64, 3)), (480, off(64, 3))]
    expected = [(0, False, 61), (5, False, 64), (9, False, 60), (0, True, 36)]
    assert parts(file(track(*events, END))) == expected


def test_ports_have_channels_of_their_own():
    def port(number):
        return (0, [0xFF, 0x21, 1, number])

    first = track(port(0), (0, [0xC0, 10]), *SCALE)
    second = track(port(1), (0, [0xC0, 20]), (0, on(70)), (480, off(70)), END)
    third = track(port(1), (0, on(80)), (480, off(80)), (0, on(35, 9)), (480, off(35, 9)), END)
    expected = [(10, False, 60, 62), (20, False, 70), (20, False, 80), (0, True, 35)]
    assert parts(file(first, second, third)) == expected
    one = [port(0), (0, on(60)), port(1), (0, on(60)), (480, off(60)), port(0), (480, off(60)), END]
    assert notes(file(track(*one), format=0)) == [(60, 0, 1), (60, 0, 2)]


def test_the_pedal_belongs_to_the_channel():
    pedal = track((0, [0xB0, 64, 127]), (960, [0xB0, 64, 0]), END)
    hands = [track((0, on(pitch)), (480, off(pitch)), END) for pitch in (60, 40)]
    other = track((0, on(50, 1)), (480, off(50, 1)), END)
    sequence = with_sustain(midi_to_sequence(file(pedal, *hands, other)))
    assert [(note.pitch, note.end_time) for note in sequence.notes] == [(60, 1), (40, 1), (50, 0.5)]


def test_control_changes_of_many_instruments_are_limited():
    controls = track(*[(1, [0xB0, 7, i % 128]) for i in range(3000)], END)
    players = [track((0, on(60)), (9, off(60)), END)] * 400
    with pytest.raises(UnreadableError, match="more than 1,000,000 control changes"):
        midi_to_sequence(file(controls, *players))


def test_names_of_tracks():
    def named(name, channels=2):
        events = [(0, [0xFF, 3, *delta(len(name)), *name])]
        for channel in range(channels):
            events += [(0, on(60, channel)), (9, off(60, channel))]
        return track(*events, END)

    files = file(named("Flöte".encode()), named("Flöte".encode("latin-1"), 1), named(b"a" * 999, 1))
    infos = midi_to_sequence(files).instrument_infos
    assert [(info.instrument, info.name) for info in infos] == [
        (0, "Flöte"),
        (1, "Flöte"),
        (2, "Flöte"),
        (3, "a" * 100),
    ]


# Time ---------------------------------------------------------------------------------------------


def test_tempos_of_zero_and_damaged_meta_events_are_ignored():
    bad = [
        [0xFF, 0x51, 3, 0, 0, 0],
        [0xFF, 0x51, 1, 5],
        [0xFF, 0x58, 4, 0, 2, 24, 8],
        [0xFF, 0x58, 4, 4, 200, 24, 8],
        [0xFF, 0x58, 1, 4],
        [0xFF, 0x59, 2, 99, 7],
        [0xFF, 0x59, 0],
        [0xFF, 0x03, 2, 0xE9, 0x80],
        [0xFF, 0x05, 3, *"là".encode("utf-16-le")[:3]],
        [0xFF, 0x7F, 0],
    ]
    good = [(0, [0xFF, 0x58, 4, 3, 3, 24, 8]), (480, [0xFF, 0x51, 3, 3, 0xD0, 0x90])]
    data = file(track(*[(0, event) for event in bad], *good, END), track(*SCALE))
    sequence = midi_to_sequence(data)
    assert [(t.time, t.qpm) for t in sequence.tempos] == [(0.5, 240)]
    assert [(m.numerator, m.denominator) for m in sequence.time_signatures] == [(3, 8)]
    times = [(note.start_time, note.end_time) for note in sequence.notes]
    assert times == [(0, 0.5), (0.5, 0.75)]


def test_time_in_seconds():
    tempo = (0, [0xFF, 0x51, 3, 3, 0xD0, 0x90])
    data = file(track(tempo, (0, on(60)), (1000, off(60)), END), division=0xE728)  # 25 * 40
    (note,) = midi_to_sequence(data).notes
    assert (note.start_time, note.end_time) == (0, 1)
    data = file(track((2997, on(60)), (2997, off(60)), END), division=0xE364)  # 29.97 * 100
    (note,) = midi_to_sequence(data).notes
    assert (note.start_time, note.end_time) == pytest.approx((1, 2), abs=1e-5)


@pytest.mark.parametrize("division", [0, 0xE700])
def test_a_file_without_a_resolution_is_refused(division):
    with pytest.raises(UnreadableError, match="no resolution"):
        midi_to_sequence(file(track(*SCALE), division=division))


def test_patterns_of_format_2_follow_each_other():
    second = track((480, on(70)), (480, off(70)), END)
    data = file(track(*SCALE), second, format=2)
    assert notes(data) == [*SCALE_NOTES, (70, 3, 1)]


# Bytes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        [(0, on(60)), (480, [60, 0]), (0, [0xF0, 2, 1, 0xF7]), (0, [62, 80]), (480, [62, 0])],
        [(0, on(60)), (480, [60, 0]), (0, [0xF7, 1, 9]), (0, [62, 80]), (480, [62, 0])],
        [(0, on(60)), (480, [60, 0]), (0, [0xFF, 5, 1, 97]), (0, [62, 80]), (480, [62, 0])],
        [(0, on(60)), (480, [60, 0]), (0, [0xC0, 0]), (0, [1]), (0, on(62)), (480, [62, 0])],
        [(0, on(60)), (240, [0xFE]), (240, [60, 0]), (0, [0xF8]), (0, on(62)), (480, off(62))],
        [(0, [0xF1, 5]), (0, [0xF2, 1, 2]), (0, [0xF3, 1]), (0, [0xF6]), *SCALE[:-1]],
        [(0, [0xB0, 64, 200]), *SCALE[:-1]],
        [
            (0, [0xD0, 1]),
            (0, [2]),
            (0, [0xE0, 0, 64]),
            (0, [0, 64]),
            (0, [0xA0, 1, 2]),
            *SCALE[:-1],
        ],
    ],
)
def test_events_between_notes(events):
    assert notes(file(track(*events, END))) == SCALE_NOTES


def test_data_bytes_above_127_are_127():
    data = file(track((0, [0xB0, 64, 200]), (0, [0x90, 60, 255]), (480, off(60)), END))
    sequence = midi_to_sequence(data)
    assert [note.velocity for note in sequence.notes] == [127]
    assert [change.control_value for change in sequence.control_changes] == [127]


GOOD = file(track(*SCALE))
TRACK = track(*SCALE)
RIFF = struct.pack("<4sI4s4sI", b"RIFF", len(GOOD) + 12, b"RMID", b"data", len(GOOD))


@pytest.mark.parametrize(
    "data",
    [
        RIFF + GOOD + b"LIST\x04\0\0\0INFO",
        bytes(128) + GOOD + bytes(100),  # MacBinary
        GOOD + b"and more",
        GOOD + b"MTrk\0\0",
        file(b"XFIH\0\0\0\x04MTrk", TRACK, b"XFKM\0\0\0\x01a"),
        b"MThd\0\0\0\x08" + GOOD[8:14] + b"\0\0" + TRACK,
        b"MThd\0\0\0\x04" + GOOD[8:],
        b"MThd\xff\xff\xff\xff" + GOOD[8:],
        file(track(*SCALE, size=0)),
        file(track(*SCALE, size=9), track(END)),
        file(track(*SCALE, size=2**32 - 1), track(END)),
        file(track(*SCALE, size=100)),
        file(track(*SCALE[:-1])),
        file(track(*SCALE[:-1]), track(END)),
        file(track(*SCALE, (0, on(90)), (9, off(90)))),
        GOOD[:10] + b"\0\x09" + GOOD[12:],
        GOOD[:10] + b"\0\0" + GOOD[12:],
    ],
)
def test_chunks(data):
    assert notes(data) == SCALE_NOTES


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a MIDI file"),
        (b"RIFF\x04\0\0\0WAVE", "not a MIDI file"),
        (TRACK, "not a MIDI file"),
        (GOOD[:13], "the header is cut off"),
        (GOOD[:14], "no track"),
        (GOOD[:-6], "a track is cut off"),
        (GOOD[:-8], "a track is cut off"),
        (file(track((0, on(60)), (480, [0x80, 60]))), "a track is cut off"),
        (file(track((0, on(60)), (480, [0xFF, 5, 100]))), "a track is cut off"),
        (file(track((0, [60, 80]), *SCALE)), "an event without a status"),
        (file(track((0, [0xF4]), *SCALE)), "not a MIDI event"),
        (GOOD.replace(b"\x83\x60", b"\x83\x83\x83\x83\x60"), "not a MIDI event"),
        (file(b"MTrk\0\x50\0\0" + bytes(5 * 2**20)), "more than 4 MB"),
    ],
)
def test_damaged_files_are_refused(data, reason):
    with pytest.raises(UnreadableError, match=reason):
        midi_to_sequence(data)
