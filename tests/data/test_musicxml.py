"""Reading MusicXML: small scores, one for each rule, damaged ones, and music21's chorales."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from musicxml_scores import (
    BARS,
    END,
    START,
    TIE,
    TIED,
    attributes,
    direction,
    ending,
    harmony,
    heard,
    heard_bars,
    melody,
    metronome,
    note,
    notes,
    score,
    sound,
    transpose,
    words,
    zipped,
)

from magenta_lite.converters.chords import canonical
from magenta_lite.data import formats
from magenta_lite.data.musicxml import chord_symbols, document, playing_order

A, B = notes(BARS["A"]), notes(BARS["B"])
SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_scores.py"


def read(data, name="score.musicxml"):
    """Returns the one piece of a file."""
    ((_, sequence),) = formats.music_in(
        name, data.encode() if isinstance(data, str) else data, None
    )
    return sequence


def in_quarters(sequence, scale=None):
    """Returns [pitch, start, length] of the notes, at the first tempo."""
    scale = sequence.tempos[0].qpm / 60 if scale is None else scale
    return sorted(
        [n.pitch, round(n.start_time * scale, 3), round((n.end_time - n.start_time) * scale, 3)]
        for n in sequence.notes
    )


def meters(sequence):
    return [(2 * m.time, m.numerator, m.denominator) for m in sequence.time_signatures]


def chords(sequence):
    return [(2 * chord.time, chord.text) for chord in sequence.text_annotations]


TIES = {
    "over three bars": (
        [note("C4", 8, TIE), note("C4", 8, TIE + TIED), note("C4", 8, TIED)],
        [[60, 0, 12]],
    ),
    "of one note of a chord": (
        [
            note("C4", 8, TIE) + note("E4", 8, head="<chord/>"),
            note("C4", 8, TIED) + note("E4", 8, head="<chord/>"),
        ],
        [[60, 0, 8], [64, 0, 4], [64, 4, 4]],
    ),
    "as notation only": (
        [
            note("C4", 8, '<notations><tied type="start"/></notations>'),
            note("C4", 8, '<notations><tied type="stop"/></notations>'),
        ],
        [[60, 0, 8]],
    ),
    "of two voices": (
        2
        * [
            note("E5", 8, TIE + TIED)
            + "<backup><duration>8</duration></backup>"
            + note("C4", 8, TIE + TIED, voice=2)
        ],
        [[60, 0, 8], [76, 0, 8]],
    ),
    "into another voice": (
        [
            note("E5", 8) + "<backup><duration>8</duration></backup>" + note("C4", 8, TIE, 2),
            note("C4", 8, TIED),
        ],
        [[60, 0, 8], [76, 0, 4]],
    ),
    "with another spelling": ([note("C#4", 8, TIE), note("Db4", 8, TIED)], [[61, 0, 8]]),
    "without an end": ([note("C4", 8, TIE), note("C4", 8)], [[60, 0, 4], [60, 4, 4]]),
    "without a start": ([note("C4", 8), note("C4", 8, TIED)], [[60, 0, 4], [60, 4, 4]]),
    "that do not meet": (
        [note("C4", 4, TIE) + note("r", 4), note("C4", 8, TIED)],
        [[60, 0, 2], [60, 4, 4]],
    ),
}


@pytest.mark.parametrize("name", TIES)
def test_ties(name):
    measures, expected = TIES[name]
    assert in_quarters(read(melody(*measures))) == expected


def test_tie_into_a_second_ending_is_joined_on_both_turns():
    first = ending(1, "A").replace(A, note("D4", 8, TIED))
    second = ending(2, "A", last=True).replace(A, note("D4", 8, TIED))
    data = melody(START + note("D4", 8, TIE), first, second)
    assert in_quarters(read(data)) == [[62, 0, 8], [62, 8, 8]]


FINE, DA_CAPO = words("Fine", fine="yes"), words("D.C. al Fine", dacapo="yes")
SEGNO, CODA = direction("<segno/>", segno="1"), direction("<coda/>", coda="1")
TO_CODA = words("To Coda", tocoda="1")
ORDERS = {
    "AAB": [START + A + END, "B"],
    "ABABC": ["A", B + END, "C"],
    "AABB": [A + END, B + END],
    "AAAB": [START + A + END.replace("/></", ' times="3"/></'), "B"],
    "AB": [START + A, "B"],
    "ABACAD": [START + A, ending(1, "B"), ending(2, "C"), ending(3, "D", last=True)],
    "ABABAC": [START + A, ending("1, 2", "B"), ending(3, "C", last=True)],
    "ABABABAC": [START + A, ending("1-3", "B"), ending(4, "C", last=True)],
    "ABACDCD": [START + A, ending(1, "B"), "C", notes(BARS["D"]) + END],
    "ABA": [A + FINE, B + DA_CAPO],
    "ABAB": ["A", B + words("D.C.", dacapo="yes")],
    "ABCB": ["A", SEGNO + B + FINE, notes(BARS["C"]) + words("D.S.", dalsegno="1")],
    "ABAC": [A + TO_CODA, B + words("D.C. al Coda", dacapo="yes"), CODA + notes(BARS["C"])],
    "ABCBD": [
        *["A", SEGNO + B + TO_CODA, notes(BARS["C"]) + words("D.S.", dalsegno="1")],
        CODA + notes(BARS["D"]),
    ],
    # Repeats are played once after a jump, with the last ending, unless they say otherwise.
    "AABA": [A + END + FINE, B + DA_CAPO],
    "AABAA": [A + END.replace("/></", ' after-jump="yes"/></') + FINE, B + DA_CAPO],
    "ABACDACD": [
        *[START + A, ending(1, "B"), ending(2, "C", last=True)],
        notes(BARS["D"]) + words("D.C.", dacapo="yes"),
    ],
}
ORDERS |= {
    "AABCC (second endings alone)": [A + END, ending(2, "B", last=True), notes(BARS["C"]) + END],
    "ABA in words": [A + words("Fine"), B + words("D.C. al Fine")],
    "ABCB in words": [
        *["A", direction("<segno/>") + B + words("Fine")],
        notes(BARS["C"]) + words("D.S. al Fine"),
    ],
    "ABA without words": [A + sound(fine="yes"), B + sound(dacapo="yes")],
}


@pytest.mark.parametrize("name", ORDERS)
def test_repeats_endings_and_jumps(name):
    order = name.split()[0]
    assert in_quarters(read(melody(*ORDERS[name]))) == sorted(heard_bars(order))


@pytest.mark.parametrize("marked", [0, 1])
def test_signs_of_one_part_are_valid_for_all(marked):
    parts = [[attributes() + A, B], [attributes() + A, B]]
    parts[marked][0] = attributes() + START + A + END
    assert in_quarters(read(score(*parts))) == sorted(2 * heard_bars("AAB"))


def test_meter_transposition_tempo_and_chords_are_repeated_with_the_notes():
    second = (
        attributes("3", more="<transpose><chromatic>-3</chromatic></transpose>")
        + sound(tempo=60) + harmony("G", "dominant") + notes("G4 A4 B4") + END
    )  # fmt: skip
    data = score([attributes() + START + sound(tempo=120) + harmony("C") + A, second])
    sequence = read(data)
    turn = [(0, 60), (0.5, 62), (1, 64), (1.5, 65), (2, 64), (3, 66), (4, 68)]
    assert [(n.start_time, n.pitch) for n in sequence.notes] == [
        *turn, *((time + 5, pitch) for time, pitch in turn)
    ]  # fmt: skip
    assert [(t.time, t.qpm) for t in sequence.tempos] == [(0, 120), (2, 60), (5, 120), (7, 60)]
    assert [m.time for m in sequence.time_signatures] == [0, 2, 5, 7]
    assert [(c.time, c.text) for c in sequence.text_annotations] == [
        *[(0, "C"), (2, "E7"), (5, "C"), (7, "E7")]
    ]


def test_a_chord_that_lasts_is_restated_after_a_jump():
    data = melody(harmony("C") + A, START + B, harmony("F") + A + END)
    assert chords(read(data)) == [(0, "C"), (8, "F"), (12, "C"), (16, "F")]


# Notes ----------------------------------------------------------------------------------------


def test_grace_and_cue_notes_take_no_time_and_do_not_sound():
    grace = "<note><grace/><pitch><step>C</step><octave>6</octave></pitch></note>"
    chord = grace.replace("<grace/>", "<grace/><chord/>")
    cue = note("C6", 4, head="<cue/>")
    first = grace + note("C4") + grace + chord + notes("D4 E4 F4") + grace
    sequence = read(melody(first, cue + notes("E4 F4")))
    assert in_quarters(sequence) == sorted(heard("C4 D4 E4 F4 r r E4 F4"))


def test_spellings():
    names = "B##3 Cbb5 E#4 Fb4 Cb2 B#6 B#0 Cb9"
    assert in_quarters(read(melody(notes(names)))) == sorted(heard(names))
    decimal = note("C#4").replace("<alter>1<", "<alter>1.0<")
    assert in_quarters(read(melody(decimal))) == [[61, 0, 1]]


@pytest.mark.parametrize(
    ("inner", "semitones"),
    [
        ("<diatonic>-1</diatonic><chromatic>-2</chromatic>", -2),
        ("<diatonic>-1</diatonic><chromatic>-2</chromatic><octave-change>-1</octave-change>", -14),
        ("<chromatic>0</chromatic><octave-change>1</octave-change>", 12),
        ("<octave-change>-1</octave-change>", -12),
        ("<chromatic>3</chromatic>", 3),
    ],
)
def test_transposing_parts_sound_as_transposed(inner, semitones):
    bass = "<bass><bass-step>E</bass-step></bass>"
    data = score([transpose(inner) + harmony("C", "major", more=bass) + A], [attributes() + A])
    sequence = read(data)
    pitches = [[n.pitch for n in sequence.notes if n.part == part] for part in (0, 1)]
    assert pitches == [[p + semitones for p in (60, 62, 64, 65)], [60, 62, 64, 65]]
    expected = {-2: "Bb/D", -14: "Bb/D", 3: "Eb/G"}.get(semitones, "C/E")
    assert [chord.text for chord in sequence.text_annotations] == [expected]
    assert sequence.key_signatures[0].key == semitones % 12


def test_transpositions_change_and_differ_between_staves():
    change = transpose("<chromatic>-2</chromatic>") + A, transpose("<chromatic>0</chromatic>") + A
    assert [n.pitch for n in read(score(list(change))).notes] == [58, 60, 62, 63, 60, 62, 64, 65]
    upper = attributes(more='<transpose number="1"><chromatic>-2</chromatic></transpose>')
    staves = [note("C4", more=f"<staff>{i}</staff>", head="<chord/>" * (i > 1)) for i in (1, 2)]
    assert in_quarters(read(score([upper + "".join(staves)]))) == [[58, 0, 1], [60, 0, 1]]


def test_octave_clefs_and_octave_signs_change_no_pitch():
    clef = "<clef><sign>G</sign><line>2</line><clef-octave-change>-1</clef-octave-change></clef>"
    shift = direction('<octave-shift type="down" size="8"/>')
    assert in_quarters(read(score([attributes(more=clef) + shift + A]))) == heard_bars("A")


def midi(program=None, channel="", unpitched="", name="I"):
    inner = f"<midi-channel>{channel}</midi-channel>" if channel else ""
    inner += f"<midi-program>{program}</midi-program>" if program is not None else ""
    inner += f"<midi-unpitched>{unpitched}</midi-unpitched>" if unpitched else ""
    return f'<midi-instrument id="{name}">{inner}</midi-instrument>'


def test_programs_count_from_1_and_parts_are_instruments_with_names():
    headers = [midi(1, 1), midi(128, 1), midi(0), midi(129)]
    sequence = read(score(*[[attributes() + A]] * 4, headers=headers))
    assert [n.program for n in sequence.notes[::4]] == [0, 127, 0, 0]
    assert [n.instrument for n in sequence.notes[::4]] == [0, 1, 2, 3]
    names = [(info.instrument, info.name) for info in sequence.instrument_infos]
    assert names == [(0, "Part 0"), (1, "Part 1"), (2, "Part 2"), (3, "Part 3")]


def test_instruments_of_a_part_may_change():
    header = midi(41, name="violin") + midi(74, name="flute")
    second = note("E4", more='<instrument id="flute"/>')
    change = "<sound>" + midi(13, name="violin") + "</sound>"
    data = score([attributes() + note("C4") + second + change + note("F4")], headers=[header])
    assert [(n.pitch, n.program) for n in read(data).notes] == [(60, 40), (64, 73), (65, 12)]
    assert [n.instrument for n in read(data).notes] == [0, 1, 2]


def test_percussion():
    place = "<unpitched><display-step>F</display-step><display-octave>4</display-octave>"
    header = midi(1, 10, 37, "bass") + midi(1, 10, 39, "snare")
    hits = [
        f"<note>{place}</unpitched><duration>2</duration><instrument id='{name}'/></note>"
        for name in ("bass", "snare", "unknown")
    ]
    sequence = read(score([attributes() + "".join(hits) + note("C2")], headers=[header]))
    assert [(n.pitch, n.start_time) for n in sequence.notes] == [(36, 0), (38, 0.5), (36, 1.5)]
    assert all(n.is_drum for n in sequence.notes)


# Time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "qpm"),
    [
        (sound(tempo=77), 77),
        (words("Andante", tempo=77), 77),
        (metronome(60, "half"), 120),
        (metronome(60, dots=1), 90),
        (metronome(80, "eighth", dots=2), 70),
        (metronome("ca. 90"), 90),
        (metronome("90.5"), 90.5),
        (metronome(100) + sound(tempo=66), 66),
        (words("Allegro"), 120),
        *((sound(tempo=tempo), 120) for tempo in (0, -5, "x", "nan", 10**9)),
        ("<direction><direction-type><metronome/></direction-type></direction>", 120),
    ],
)
def test_tempo(before, qpm):
    assert [(t.time, t.qpm) for t in read(melody("A", before=before)).tempos] == [(0, qpm)]


def test_a_tempo_of_any_part_within_a_note_is_valid_for_all():
    other = attributes() + notes("C3 C3") + sound(tempo=60) + notes("C3 C3")
    sequence = read(score([attributes() + note("C4", 8)], [other]))
    assert in_quarters(sequence, 1) == [
        *[[48, 0, 0.5], [48, 0.5, 0.5], [48, 1, 1], [48, 2, 1], [60, 0, 3]]
    ]
    assert [(t.time, t.qpm) for t in sequence.tempos] == [(0, 120), (1, 60)]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("<time><beats>3+2</beats><beat-type>8</beat-type></time>", [(0, 5, 8)]),
        (
            "<time><beats>3</beats><beat-type>8</beat-type>"
            "<beats>1</beats><beat-type>4</beat-type></time>",
            [(0, 5, 8)],
        ),
        ("<time><senza-misura/></time>", []),
        ("<time/>", []),
        ("<time><beats>x</beats><beat-type>4</beat-type></time>", []),
        ("<time><beats>4</beats><beat-type>0</beat-type></time>", []),
        (f"<time><beats>{'9' * 5000}</beats><beat-type>4</beat-type></time>", []),
    ],
)
def test_time_signatures(time, expected):
    data = score([f"<attributes><divisions>2</divisions>{time}</attributes>" + note("C4", 5)])
    assert meters(read(data)) == expected
    assert in_quarters(read(data)) == [[60, 0, 2.5]]


def test_a_pickup_has_a_meter_of_its_own_and_its_repeat_needs_none():
    data = melody(note("G4"), A, notes("G4 A4 B4") + END, START + note("C5"), "C")
    sequence = read(data)
    turn = "G4 C4 D4 E4 F4 G4 A4 B4"
    assert in_quarters(sequence) == sorted(heard(f"{turn} {turn} C5 C5 B4 A4 G4"))
    assert meters(sequence) == [(0, 1, 4), (1, 4, 4)]


def test_a_bar_of_odd_length_moves_the_bar_lines():
    long = attributes(divisions=16) + notes("C4 D4 E4", divisions=16) + note("F4", 17)
    sequence = read(score([long, notes(BARS["A"], divisions=16), notes("C4", divisions=16)]))
    assert meters(sequence) == [(0, 4, 4), (4 + 1 / 16, 4, 4)]


def test_parts_stay_together_where_one_is_shorter_or_silent():
    lower = [attributes() + note("C3"), "", B]
    sequence = read(score([attributes() + A, B, A], lower))
    assert in_quarters(sequence) == sorted([*heard_bars("ABA"), [48, 0, 1], *heard(BARS["B"], 8)])


def test_silence_that_fills_up_a_pickup_is_none():
    rest = attributes("3") + note("r") + "<forward><duration>4</duration></forward>"
    data = score([attributes("3") + note("C4"), "<x/>" + A], [rest, A])
    data = data.replace("<measure>" + attributes("3"), '<measure implicit="yes">' + attributes("3"))
    assert in_quarters(read(data))[:3] == [[60, 0, 1], [60, 1, 1], [60, 1, 1]]


# Chord symbols --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "text"),
    [
        (harmony("B", "dominant", -1), "Bb7"),
        (harmony("C", "none"), "N.C."),
        (harmony("C", ""), "C"),
        (harmony("B", "half-diminished"), "Bm7b5"),
        (harmony("D", more="<bass><bass-step>F</bass-step><bass-alter>1</bass-alter></bass>"),
         "D/F#"),
        (
            harmony(
                "G", "dominant",
                more="<degree><degree-value>9</degree-value><degree-alter>-1</degree-alter>"
                "<degree-type>add</degree-type></degree>",
            ),
            "G7(b9)",
        ),
        (harmony("C", more="<degree><degree-value>99</degree-value></degree>" * 2), "C"),
        (harmony("C", "other"), None),
        (harmony("H"), None),
        (harmony("C", alter="x"), None),
        ("<harmony><function>IV</function><kind>major</kind></harmony>", None),
        ("<harmony/>", None),
    ],
)  # fmt: skip
def test_chord_symbols(element, text):
    sequence = read(melody(element + A))
    assert chords(sequence) == ([(0, text)] if text else [])
    assert in_quarters(sequence) == heard_bars("A")


def test_every_kind_of_chord_is_read_by_the_converters():
    for kind, suffix in chord_symbols.KINDS.items():
        assert canonical(f"C{suffix}") == f"C{suffix}", kind


def test_offset_of_a_chord_symbol():
    data = melody(harmony("C") + harmony("G", more="<offset>4</offset>") + A)
    assert chords(read(data)) == [(0, "C"), (2, "G")]


# Documents ------------------------------------------------------------------------------------

PLAIN = melody("A")
OTHER = melody("B")
FILES = {
    "zip.xml": zipped({"score.xml": PLAIN}),
    "plain.mxl": PLAIN.encode(),
    "elsewhere.MXL": zipped({"a.xml": OTHER, "sub/b.musicxml": PLAIN}, "sub/b.musicxml"),
    "no_container.mxl": zipped({"score.xml": PLAIN}, ""),
    "wrong_container.mxl": zipped({"score.xml": PLAIN}, "gone.xml"),
    "utf16.musicxml": PLAIN.encode("utf-16"),
    "declared_utf16.xml": PLAIN.replace("UTF-8", "UTF-16").encode("utf-16-be"),
    "bom.xml": PLAIN.encode("utf-8-sig"),
    "latin.xml": PLAIN.replace("UTF-8", "ISO-8859-1").replace("Part", "Flöte").encode("latin-1"),
    "wrong_utf8.xml": PLAIN.replace("Part", "Flöte").encode("latin-1"),
    "lines_first.xml": b"\n \n" + PLAIN.encode(),
    "namespace.xml": PLAIN.replace("wise ", 'wise xmlns="http://www.musicxml.org" ').encode(),
    "dtd.xml": PLAIN.replace(
        "<score", '<!DOCTYPE score-partwise PUBLIC "-//x" "http://x.invalid/partwise.dtd"><score', 1
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_documents(name):
    assert in_quarters(read(FILES[name], name)) == heard_bars("A")


def test_score_by_measures():
    bars = [(attributes() + START + A, attributes() + B), ("", notes(BARS["C"]) + END)]
    data = '<score-timewise><part-list><score-part id="a"/><score-part id="b"/></part-list>'
    for upper, lower in bars:
        part = f'<part id="a">{upper}</part>' if upper else ""
        data += f'<measure>{part}<part id="b">{lower}</part></measure>'
    sequence = read(data + "</score-timewise>")
    assert in_quarters(sequence) == sorted(
        heard_bars("A") + heard("C4 D4 E4 F4", 8) + heard_bars("BCBC")
    )


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><score-partwise>&b;'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BOMB.encode(), "entities"),
        (BOMB.encode("utf-16"), "entities"),
        (b"<score-partwise><part>", "no element found"),
        (b"<opus/>", "'opus', which is not a score"),
        (zipped({"notes.txt": ""}, ""), "an archive without a score"),
        (zipped({"score.xml": PLAIN})[:-30], "archive cannot be read"),
        (zipped({"score.xml": " " * (document.MAX_BYTES + 1)}), "more than 32 MB of XML"),
        (zipped({"score.xml": "<a>" * (document.MAX_TAGS + 1)}), "more than 2,000,000 XML tags"),
        (zipped(dict.fromkeys(map(str, range(1001)), "")), "more than 1000 files"),
        (melody(*["<note/>"] * (playing_order.MAX_MEASURES + 1)), "more than 20,000 measures"),
    ],
)  # fmt: skip
def test_unusable_documents_are_refused(data, reason):
    with pytest.raises(formats.UnreadableError, match=reason):
        read(data)


def test_what_is_invalid_in_a_score_costs_only_itself():
    empty = "<note/><direction/><harmony/><barline/><attributes/><backup/><forward/><sound/>"
    bad = note("C4").replace("<octave>4", "<octave>x") + note("C4").replace("<step>C", "<step>H")
    data = melody(empty + "<print/><x/>" + A, bad + notes("B4 C5"))
    assert in_quarters(read(data)) == sorted(heard("C4 D4 E4 F4 r r B4 C5"))


def test_repeats_without_end_are_refused():
    bars = [note("C4") + END.replace("/></", f' times="{50}"/></')] * 1000
    with pytest.raises(formats.UnreadableError, match="more than 20,000 measures with all repeats"):
        read(melody(*bars))


# Chorales -------------------------------------------------------------------------------------


def test_chorales_sound_as_music21_reads_them():
    command = [sys.executable, str(SCRIPT), "--every=21"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 of 20 scores" in done.stdout
