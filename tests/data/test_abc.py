"""Reading ABC: small tunes written for one rule each, and the books inside music21."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magenta_lite.data import abc

BOOKS = ("airdsAirs", "oneills1850", "ryansMammoth")


def read(body, header="M:4/4\nL:1/8\nK:C"):
    return abc.read_tune(f"X:1\nT:test\n{header}\n{body}\n")


def notes(body, header="M:4/4\nL:1/8\nK:C"):
    """Returns (pitch, start, length) of each note, in eighth notes."""
    sequence = read(body, header)
    eighths = sequence.tempos[0].qpm / 60 * 2
    return [
        (n.pitch, round(n.start_time * eighths, 3), round((n.end_time - n.start_time) * eighths, 3))
        for n in sequence.notes
    ]


def pitches(body, header="M:4/4\nL:1/8\nK:C"):
    return [pitch for pitch, _, _ in notes(body, header)]


def lengths(body, header="M:4/4\nL:1/8\nK:C"):
    return [length for _, _, length in notes(body, header)]


FULL = "z8|"  # a whole bar first, so that nothing is a pickup


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("C D2 E/ F// G3/2 A/4 B3 z/4", [1, 2, 0.5, 0.25, 1.5, 0.25, 3]),
        ("C>D E<F G>>A B2", [1.5, 0.5, 0.5, 1.5, 1.75, 0.25, 2]),
        ("(3CDE (3F2G2A2 C2", [0.667] * 3 + [1.333] * 3 + [2]),
        ("(3:2:2C2D E2 F4", [1.333, 0.667, 2, 4]),
        ("[CEG]2 [C2E2] D4", [2] * 3 + [2] * 2 + [4]),
        ("{cd}C !trill!D ~E .F (GA) `B` c", [1] * 8),
        ("C-C D4- | D8", [2, 12]),
        ("C4 & E8 | D8", [4, 8, 8]),
    ],
)
def test_lengths(body, expected):
    assert lengths(FULL + body) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        ("C", "C, C c c' B,,", [48, 60, 72, 84, 47]),
        ("C", "^F f F | F ^^C __D =E", [66, 78, 66, 65, 62, 60, 64]),
        ("D", "F C =F F | F", [66, 61, 65, 65, 66]),
        ("Am", "F G", [65, 67]),
        ("F#m", "F G C", [66, 68, 61]),
        ("Bb", "B E", [70, 63]),
        ("D mix", "F C", [66, 60]),
        ("Gdor", "B E F", [70, 64, 65]),
        ("A Minor", "F", [65]),
        ("Ephr", "F", [65]),
        ("Hp", "F C", [66, 61]),
        ("none", "F C", [65, 60]),
        ("D exp _b", "B F", [70, 65]),
        ("C", "^C8-|C8|C8", [61, 60]),
        ("C", "F [K:G] F", [65, 66]),
    ],
)
def test_pitches(key, body, expected):
    assert pitches(FULL + body, f"M:4/4\nL:1/8\nK:{key}") == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("|:C8|D8:|E8|", "CDCDE"),
        ("C8|D8:|E8|", "CDCDE"),
        ("|:C8::D8:|", "CCDD"),
        ("|:C8|1 D8:|2 E8|F8|", "CDCEF"),
        ("|:C8[1 D8:|[2 E8||F8|", "CDCEF"),
        ("|:C8|1,3 D8:|2 E8:|F8|", "CDCECDF"),
        ("C8||D8:|E8|", "CDDE"),
        ("|:C8:||:D8:|", "CCDD"),
        ("C8|]", "C"),
    ],
)
def test_repeats_are_played(body, expected):
    assert "".join("CDEFGAB"[[60, 62, 64, 65, 67, 69, 71].index(p)] for p in pitches(body)) == (
        expected
    )


def test_parts_are_played_in_the_order_of_the_header():
    body = "P:A\nC8|\nP:B\nD8|\n"
    assert pitches(body, "M:4/4\nL:1/8\nP:A2BA\nK:C") == [60, 60, 62, 60]


def test_rests_take_time():
    assert [start for _, start, _ in notes("C z D x2 E | Z2 | F8")] == [2, 4, 7, 24]


def test_a_pickup_ends_its_bar():
    assert [start for _, start, _ in notes("G|C8|D8|")] == [7, 8, 16]


def test_unit_length_follows_the_meter_when_it_is_not_given():
    assert lengths(FULL + "C8", "M:4/4\nK:C") == [8]
    assert lengths("z4|C4", "M:2/4\nK:C") == [2]


@pytest.mark.parametrize(
    ("meter", "expected"),
    [("C", (4, 4)), ("C|", (2, 2)), ("6/8", (6, 8)), ("2+3/8", (5, 8))],
)
def test_meters(meter, expected):
    signature = read("C8|", f"M:{meter}\nL:1/8\nK:C").time_signatures[0]
    assert (signature.numerator, signature.denominator) == expected


def test_free_meter_has_no_time_signature():
    assert not read("C8|", "M:none\nL:1/8\nK:C").time_signatures


@pytest.mark.parametrize(
    ("tempo", "qpm"),
    [("1/4=90", 90), ("3/8=100", 150), ('"Allegro" 1/2=60', 120), ("120", 60), ("Fast", 120)],
)
def test_tempos(tempo, qpm):
    assert read("C8|", f"M:4/4\nL:1/8\nQ:{tempo}\nK:C").tempos[0].qpm == qpm


def test_voices_are_instruments():
    sequence = read("V:1\nC8|\nV:2\nE8|\n[V:1] D8|")
    assert [(n.pitch, n.instrument) for n in sequence.notes] == [(60, 0), (62, 0), (64, 1)]


def test_chord_symbols_are_annotations_and_remarks_are_not():
    sequence = read('"Am"C4 "^slowly"D4|')
    assert [(a.text, a.time) for a in sequence.text_annotations] == [("Am", 0.0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X:1\nT:no key\nCDEF", "no K: field"),
        ("X:1\nK:C\nz8|", "no notes"),
        ("X:1\nK:Q\nC8|", "not a key"),
        ("X:1\nK:C\nC/0 D", "length"),
        ("X:1\nL:0\nK:C\nC", "not a length"),
        ("X:1\nM:4/0\nK:C\nC", "not a meter"),
        ("X:1\nK:C\nC'''''''''", "outside"),
    ],
)
def test_what_cannot_be_read_is_told(text, words):
    with pytest.raises(abc.AbcError, match=re.escape(words)):
        abc.read_tune(text)


@settings(deadline=5000, max_examples=300)
@given(st.text("ABCDEFGabcdefgzZxXV123456789/|:[](){}<>-^_=,'\"!&~.\n PKMLQT%", max_size=80))
def test_no_text_raises_anything_else(body):
    try:
        read(body)
    except abc.AbcError:
        return


def corpus():
    folder = Path(importlib.util.find_spec("music21").origin).parent / "corpus"
    for book in BOOKS:
        for path in sorted((folder / book).glob("*.abc")):
            data = path.read_bytes()
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                text = data.decode("latin-1")
            yield from ((path.name, number, tune) for number, tune in abc.split_tunes(text))


def test_nearly_all_tunes_of_three_books_are_read():
    read_tunes = total = 0
    for _, _, tune in corpus():
        total += 1
        try:
            abc.read_tune(tune)
            read_tunes += 1
        except abc.AbcError:
            continue
    assert total == 4248
    assert read_tunes / total > 0.99


def plain(tune):
    """Takes away what abc2midi plays on top of the notes: trills, chords, swing, grace notes."""
    lines = []
    for line in tune.split("\n"):
        if re.match(r"[A-Za-z]:", line):
            line = "R:plain" if line.startswith("R:") else line
        else:
            line = re.sub(r'![^!]*!|"[^"]*"|`', "", line)
            line = re.sub(r"[THLMOPSuv.~](?=[~THuv.]*[\^_=]*[A-Ga-g\[(])", "", line)
        lines.append(line)
    return re.sub(r"(?m)^X:.*$", "X:1", "\n".join(lines), count=1)


def played_by_abc2midi(tune, folder):
    """Returns (start, pitch) in quarter notes, the first note at 0; None if it fails."""
    import symusic

    source, target = folder / "tune.abc", folder / "tune.mid"
    source.write_text(plain(tune))
    target.unlink(missing_ok=True)
    command = ["abc2midi", str(source), "-o", str(target), "-NGRA"]
    subprocess.run(command, capture_output=True, timeout=30)
    if not target.is_file():
        return None
    score = symusic.Score(str(target))
    found = [(n.start / score.ticks_per_quarter, n.pitch) for t in score.tracks for n in t.notes]
    return from_zero(found)


def from_zero(found):
    first = min(start for start, _ in found)
    # Chords are spread by some hundredths of a beat.
    return sorted((round((start - first) * 8) / 8, pitch) for start, pitch in found)


@pytest.mark.skipif(shutil.which("abc2midi") is None, reason="needs abc2midi (Debian abcmidi)")
def test_notes_equal_those_of_another_reader(tmp_path):
    same = compared = 0
    for _, _, tune in list(corpus())[::20]:
        expected = played_by_abc2midi(tune, tmp_path)
        if not expected:
            continue
        sequence = abc.read_tune(tune)
        quarters = sequence.tempos[0].qpm / 60
        actual = from_zero([(n.start_time * quarters, n.pitch) for n in sequence.notes])
        compared += 1
        same += actual == expected
    assert compared > 200
    assert same / compared > 0.9  # the rest: repeats that a book leaves open
