"""Reading ABC: small tunes written for one rule each, and the books inside music21."""

import importlib
import importlib.util
import re
import shutil
from collections import Counter
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
        ("C0 D/0 [EG]0 z0 A", [1, 0.5, 1, 1, 1]),
        ("C>D E<F G>>A B2", [1.5, 0.5, 0.5, 1.5, 1.75, 0.25, 2]),
        ("(3CDE (3F2G2A2 C2", [0.667] * 3 + [1.333] * 3 + [2]),
        ("(3:2:2C2D E2 F4", [1.333, 0.667, 2, 4]),
        ("(12:8:12 CDEFGABcdefg (3::2 C2D2 E", [0.667] * 12 + [1.333] * 2 + [1]),
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
        ("|:C8||D8:|E8|", "CDCDE"),
        ("C8[|:D8:|]E8|", "CDDE"),
        ("C8||:D8:|[|]E8|", "CDDE"),
        ("|::C8::|D8|", "CCCD"),
        ("C8::|D8:|", "CCDD"),
        ("|:C8|:D8|:E8:|", "CCDDEE"),
        ("|:C8|1D8|2E8|F8|", "CDCEF"),
        ("|:C8|1D8:|E8|2F8|", "CDCEF"),
        ("C8:|2 D8|", "CCD"),
        ("|:C8|\\\n1 D8:|2 E8|", "CDCE"),
        ("|:D8|\nC8:|\nE8:|", "DCDCEE"),
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


@pytest.mark.parametrize(
    ("order", "played"),
    [
        ("AB", "ECD"),
        ("A2.B.(AB)2", "ECCDCDCD"),
        ("((AB)2A)2", "ECDCDCCDCDC"),
        ("ABX", "ECD"),
        ("XYZ", "ECD"),
        ("B", "ED"),
    ],
)
def test_parts_and_what_is_written_before_them(order, played):
    body = "E8|\nP:A\nC8|\nP:B\nD8|\n"
    found = pitches(body, f"M:4/4\nL:1/8\nP:{order}\nK:C")
    assert found == ["C D E".replace(" ", "").index(name) * 2 + 60 for name in played]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("K:F clef=bass", 70),
        ("K:F bass", 70),
        ("K:bass", 71),
        ("K:", 71),
        ("K:none clef=alto", 71),
        ("K:^f_b", 70),
        ("K:exp _b", 70),
        ("K:g minor", 70),
        ("K:B♭", 70),
        ("K:HP", 71),
        ("K:C treble-8", 59),
        ('K:C clef="treble+8"', 83),
        ("K:C clef=treble-8 octave=1", 83),
        ("K:C octave=-1", 59),
        ("K:C transpose=-2", 69),
        ("K:C sound=cB", 70),
        ("V:1 octave=-1\nK:F octave=1", 58),
        ("%%MIDI transpose 3\nK:C", 74),
        ('V:1 name="octave=-1"\nK:C', 71),
    ],
)
def test_clefs_and_transpositions(fields, expected):
    assert pitches("B8", f"M:4/4\nL:1/8\n{fields}") == [expected]


@pytest.mark.parametrize(
    "body",
    [
        "C4 D4|\n\nA bad egg\n",
        "C4 D4|\n</pre>\n<p>A bad egg</p>\n",
        "C4 % bad egg\n%%text bad egg\nD4|\nw:bad egg\n  N: bad egg\n",
        "%%begintext\nbad egg\n\nbad egg\n%%endtext\nC4 D4|",
        '[r:bad egg]C4 !bad! "^bad"D4|',
        "\nC4\\\nw:bad\nD4|",
    ],
)
def test_text_is_no_music(body):
    assert pitches(body) == [60, 62]


def test_books_in_web_pages_with_byte_order_marks_and_odd_line_ends():
    page = "<html><pre>\r\r\nL:1/4\r\r\n X:1\r\r\nK:C\r\r\nA&gt;B|\r\r\n\ufeffX:2\r\r\nK:C\r\r\nC|"
    tunes = dict(abc.split_tunes(abc.decode(page.encode("utf-16"))))
    assert [len(abc.read_tune(tune).notes) for tune in tunes.values()] == [2, 1]
    first = abc.read_tune(tunes["1"]).notes[0]
    assert first.end_time - first.start_time == 0.75


def test_voices_unfold_together_with_chords_meters_and_tempos():
    sequence = read(
        'V:1\n|:"C"C8|1"F"F8:|2[M:6/8]"G"G6|\nV:2\nC8|D8|[Q:1/4=60]E6|\n', "M:4/4\nL:1/8\nK:C"
    )
    assert [(n.pitch, n.start_time) for n in sequence.notes if n.instrument] == [
        (60, 0), (62, 2), (60, 4), (64, 6)
    ]  # fmt: skip
    assert [(a.text, a.time) for a in sequence.text_annotations] == [
        ("C", 0), ("F", 2), ("C", 4), ("G", 6)
    ]  # fmt: skip
    assert [(m.numerator, m.time) for m in sequence.time_signatures] == [(4, 0), (6, 6)]
    assert [(t.qpm, t.time) for t in sequence.tempos] == [(120, 0), (60, 6)]
    assert sequence.total_time == 9


def test_ties_hold_for_their_notes_of_a_chord():
    found = notes("[C-E]2[CE]2|[CE-]C2-[CE]|[CE]- [C-E] z C|", "M:none\nL:1/8\nK:C")
    assert [(start, length) for pitch, start, length in found if pitch == 60] == [
        (0, 4), (4, 1), (5, 3), (8, 2), (11, 1)
    ]  # fmt: skip
    assert [(start, length) for pitch, start, length in found if pitch == 64] == [
        (0, 2), (2, 2), (4, 1), (7, 1), (8, 2)
    ]  # fmt: skip


def test_overlays_are_instruments_behind_the_voices():
    sequence = read("V:1\nz8|(&C8|D8&E8|F8&)|G4&^G8|G8|\nV:2\nc8|c8|c8|c8|c8|")
    found = [(n.instrument, n.pitch, n.start_time) for n in sequence.notes]
    assert [note for note in found if note[0] == 0] == [
        (0, 60, 2),
        (0, 62, 4),
        (0, 67, 6),
        (0, 67, 8),
    ]
    assert [note for note in found if note[0] == 2] == [(2, 64, 2), (2, 65, 4), (2, 68, 6)]


def test_accidentals_hold_as_the_tune_says():
    assert pitches("_B b B", "K:C\nI:propagate-accidentals octave") == [70, 83, 70]
    assert pitches("_B B B", "%%MIDI nobarlines\nK:C") == [70, 71, 71]


def test_drums_are_mapped():
    sequence = read("%%MIDI channel 10\n%%MIDI drummap ^C 36\n^C D|")
    assert [(n.pitch, n.is_drum) for n in sequence.notes] == [(36, True), (62, True)]


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
    [
        ("1/4=90", 90),
        ("1/4 = 92.5", 92.5),
        ("3/8=100", 150),
        ("1/4 3/8=40", 100),
        ('"Allegro" 1/2=60', 120),
        ("120", 60),
        ("C=100", 50),
        ("C3=40", 60),
        ("Fast", 120),
        ("1/4=0", 120),
        ("1/4=99999999999", 120),
    ],
)
def test_tempos(tempo, qpm):
    assert read("C8|", f"M:4/4\nL:1/8\nQ:{tempo}\nK:C").tempos[0].qpm == qpm


def test_voices_are_instruments():
    sequence = read("V:1\nC8|\nV:2\nE8|\n[V:1] D8|")
    assert [(n.pitch, n.instrument) for n in sequence.notes] == [(60, 0), (62, 0), (64, 1)]


def test_chord_symbols_are_annotations_and_remarks_are_not():
    sequence = read('"Am"C2 "^slowly"D2 "Fine"E2 "D/f+"F2|')
    assert [(a.text, a.time) for a in sequence.text_annotations] == [("Am", 0.0), ("D/f+", 1.5)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X:1\nT:no key\nCDEF", "no K: field"),
        ("X:1\nK:C\nz8|", "no notes"),
        ("X:1\nK:Q\nC8|", "not a key"),
        ("X:1\nK:C\nC1234567", "6 digits"),
        ("X:1\nK:C\nC999999", "10,000 whole notes"),
        ("X:1\nK:C\n|:C|1-99999999 D:|", "6 digits"),
        ("X:1\nP:((A99)99)99\nK:C\nP:A\nC", "1,000 parts"),
        ("X:1\nL:1/1\nK:C\nZ99999", "10,000 whole notes"),
        ("X:1\nK:C\n" + "C" * 50_001, "a line longer"),
        ("X:1\nK:C\n" + ("C" * 1000 + "\n") * 51, "50,000 notes"),
        ("X:1\nK:C\n" + "|:C|1-99 D|\n" * 9999, "repeats without end"),
        ("X:1\nK:C\n" + "".join(f"V:{i}\nC\n" for i in range(65)), "64 voices"),
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
            tunes = abc.split_tunes(abc.decode(path.read_bytes()))
            yield from ((path.name, number, tune) for number, tune in tunes)


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


@pytest.fixture(scope="module")
def compare_abc():
    """The module scripts/compare_abc.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        return importlib.import_module("compare_abc")


@pytest.mark.skipif(shutil.which("abc2midi") is None, reason="needs abc2midi (Debian abcmidi)")
def test_notes_equal_those_of_another_reader(compare_abc, tmp_path):
    kinds = Counter()
    for _, _, tune in list(corpus())[::20]:
        kind, complaints = compare_abc.difference(tune, tmp_path)
        # What abc2midi does not read it complains of: broken rhythms of unequal notes, for example.
        kinds["complaint" if complaints and kind.startswith("other ") else kind] += 1
    assert kinds[compare_abc.SAME] / kinds.total() > 0.95
    assert set(kinds) <= {compare_abc.SAME, *compare_abc.REASONS, "complaint"}
