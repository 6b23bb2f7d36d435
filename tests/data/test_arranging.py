"""The band that arranges tunes and chorales: what it plays, and that it always plays the same."""

import collections
import itertools
import random

import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.converters.melody import MelodyConverter, MelodyConverterConfig
from magenta_lite.data import abc, listing
from magenta_lite.data.synthetic import arranging
from magenta_lite.data.synthetic.arranging import NotArrangedError, arrange
from magenta_lite.data.synthetic.drumming import BAR, CRASH, STYLES, VELOCITIES, Drummer
from magenta_lite.data.synthetic.harmony import Key, Span, Triad, guess_chords, guess_key
from magenta_lite.errors import UserError

REEL = """X:1
T:Reel
M:4/4
L:1/8
K:G
|: G2BG DGBG | A2AB c2BA | G2BG DGBd | c2AF G4 |
g2bg dgbg | a2ab c'2ba | g2fe d2cB | c2AF G4 :|
|: G2BG DGBG | A2AB c2BA | G2BG DGBd | c2AF G4 |
g2bg dgbg | a2ab c'2ba | g2fe d2cB | c2AF G4 :|
"""
ROLAND = {36, 38, 37, 40, 42, 22, 44, 46, 26, 43, 58, 47, 45, 50, 48, 49, 52, 55, 57, 51, 53, 59}


def reel(meter="4/4", text=REEL):
    return abc.read_tune(text.replace("M:4/4", f"M:{meter}"))


def steps(sequence, seconds):
    return seconds * sequence.tempos[0].qpm / 15


def part(sequence, program, is_drum=False):
    return [n for n in sequence.notes if n.program == program and n.is_drum == is_drum]


def names_by_style(count=200):
    """Returns a name that plays each style, and its tempo."""
    found = {}
    for i in range(count):
        band = arranging.Band(f"tune {i}")
        style = next(name for name, style in STYLES.items() if style is band.style)
        found.setdefault(style, f"tune {i}")
    assert found.keys() == STYLES.keys()
    return found


NAMES = names_by_style()


def test_the_name_decides_everything():
    first, again, other = (arrange(reel(), name) for name in ("a", "a", "b"))
    assert first.SerializeToString() == again.SerializeToString()
    drums = [[(n.pitch, n.start_time) for n in part(s, 0, True)] for s in (first, other)]
    assert drums[0] != drums[1]


@pytest.mark.parametrize("style", STYLES)
def test_everybody_plays_in_every_bar_on_the_16th_grid(style):
    sequence = arrange(reel(), NAMES[style])
    (tempo,), (meter,) = sequence.tempos, sequence.time_signatures
    assert STYLES[style].qpm[0] <= tempo.qpm <= STYLES[style].qpm[1]
    assert (meter.numerator, meter.denominator) == (4, 4)
    for notes in (part(sequence, 0), part(sequence, 33), part(sequence, 0, True)):
        bars = {int(steps(sequence, note.start_time) + 0.5) // BAR for note in notes}
        assert bars == set(range(32))
        assert min(note.start_time for note in notes) >= 0
        assert all(note.end_time > note.start_time for note in notes)
        assert all(1 <= note.velocity <= 127 for note in notes)
    assert len({note.instrument for note in sequence.notes}) == 3


@pytest.mark.parametrize("style", STYLES)
def test_the_melody_stays_what_it_was(style):
    converter = MelodyConverter(MelodyConverterConfig(programs=(0, 31)))
    before = converter.encode(reel()).examples
    after = converter.encode(arrange(reel(), NAMES[style])).examples
    assert [list(a) for a in after] == [list(b) for b in before]


@pytest.mark.parametrize("style", STYLES)
def test_drums_are_human_and_stay_in_their_step(style):
    sequence = arrange(reel(), NAMES[style])
    hits = part(sequence, 0, True)
    assert {note.pitch for note in hits} <= ROLAND
    places = [steps(sequence, note.start_time) for note in hits]
    offsets = [place - round(place) for place in places]
    assert max(map(abs, offsets)) < 0.46
    assert len({round(offset, 3) for offset in offsets}) > len(hits) / 10
    assert len({note.velocity for note in hits}) > 15
    # Nobody comes in before the bar: a bar cut out by time holds its own downbeat.
    assert all(
        offset >= 0 for place, offset in zip(places, offsets, strict=True) if round(place) % 16 == 0
    )
    late = [o for p, o in zip(places, offsets, strict=True) if round(p) % 2]
    if STYLES[style].swing and late:
        assert sum(late) / len(late) > 0.15


def test_patterns_are_bars_of_known_characters():
    for style in STYLES.values():
        drums = [
            *style.kicks,
            *(pattern for _, pattern in style.snares),
            *(pattern for _, pattern in style.ornaments),
            *(pattern for cymbals in style.cymbals for _, pattern in cymbals),
        ]
        for pattern in drums:
            assert len(pattern) in (BAR, 2 * BAR), pattern
            assert set(pattern) <= {".", *VELOCITIES}, pattern
        for pattern in style.basses:
            assert len(pattern) == BAR
            assert pattern[0] == "R"
            assert set(pattern) <= set("R583A-.")
            assert ".-" not in pattern


@pytest.mark.parametrize("style", STYLES)
def test_phrases_end_with_a_fill_and_start_with_a_crash(style):
    for seed in range(5):
        hits = Drummer(STYLES[style], random.Random(seed)).play(32, 32 * BAR - 4)
        bars = collections.defaultdict(set)
        for hit in hits:
            step = round(hit.time)
            bars[step // BAR].add((step % BAR, hit.pitch))
        crashes = [bar for bar, strokes in bars.items() if (0, CRASH) in strokes]
        every = crashes[1] - crashes[0]
        assert every in (4, 8)
        assert crashes == list(range(0, 32, every))
        for bar in range(every - 1, 31, every):
            assert bars[bar] != bars[bar - 2]  # the fill
        assert bars[1] == bars[3 if every == 8 else 5]  # a groove goes on
        assert max(round(hit.time) for hit in hits) == 32 * BAR - 4  # the drums end with the tune


def test_grooves_differ_between_tunes():
    seen = set()
    for i in range(100):
        sequence = arrange(reel(), f"tune {i}")
        seen.add(
            frozenset(
                (round(steps(sequence, n.start_time)) - 16, n.pitch)
                for n in part(sequence, 0, True)
                if 16 <= round(steps(sequence, n.start_time)) < 48
            )
        )
    assert len(seen) > 90


@pytest.mark.parametrize("style", STYLES)
def test_the_bass_plays_roots_on_the_downbeats_in_its_own_register(style):
    sequence = arrange(reel(), NAMES[style])
    bass = part(sequence, 33)
    assert all(28 <= note.pitch <= 55 for note in bass)
    chords = {round(steps(sequence, a.time)): a.text for a in sequence.text_annotations}
    for note in bass:
        step = round(steps(sequence, note.start_time))
        if step % BAR == 0:
            symbol = chords[max(time for time in chords if time <= step)]
            assert Triad(note.pitch % 12, symbol.endswith("m")).symbol == symbol
    for note, following in itertools.pairwise(bass):
        assert note.end_time <= following.start_time + 1e-6


def test_chord_symbols_stand_where_the_chord_changes():
    from note_seq import chord_symbols_lib

    sequence = arrange(reel(), "chords")
    annotations = list(sequence.text_annotations)
    assert annotations[0].time == 0
    kinds = {a.annotation_type for a in annotations}
    assert kinds == {music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL}
    for before, after in itertools.pairwise(annotations):
        assert before.text != after.text
    for annotation in annotations:
        assert round(steps(sequence, annotation.time)) % 8 == 0
        assert chord_symbols_lib.chord_symbol_quality(annotation.text) in (0, 1)
    assert {"G", "D"} <= {a.text for a in annotations} <= {"G", "C", "D", "Em", "Am", "Bm"}


def test_harmony_of_a_plain_cadence():
    def half(pitches, start):
        return [Span(pitch, start + 2 * i, start + 2 * i + 2) for i, pitch in enumerate(pitches)]

    halves = [(60, 64, 67, 64), (65, 69, 72, 69), (67, 71, 74, 71), (64, 64, 60, 60)]
    notes = [note for i, pitches in enumerate(halves) for note in half(pitches, 8 * i)]
    assert guess_key(notes) == Key(0, False)
    chords = guess_chords(notes, 4, Key(0, False))
    assert [chord.symbol for chord in chords] == ["C", "F", "G", "C"]
    minor = [note._replace(pitch=note.pitch - 3) for note in notes]
    minor = [n._replace(pitch=n.pitch - (n.pitch % 12 in (1, 6))) for n in minor]
    assert guess_key(minor) == Key(9, True)
    chords = guess_chords(minor, 4, Key(9, True))
    assert [chord.symbol for chord in chords][::3] == ["Am", "Am"]


def test_silence_keeps_the_chord_and_is_no_problem():
    notes = [Span(60, 0, 4), Span(64, 4, 8), Span(67, 56, 64)]
    chords = guess_chords(notes, 8, Key(0, False))
    assert {chord.symbol for chord in chords} == {"C"}
    assert guess_key([Span(60, 0, 4)]).tonic == 0


def test_two_bars_of_two_four_are_one_bar():
    sequence = arrange(reel("2/4", REEL.replace("L:1/8", "L:1/16")), "polka")
    assert round(steps(sequence, sequence.total_time)) == 16 * 16
    pickup = "X:1\nM:2/4\nL:1/8\nK:G\nD|G2GA|B2Bd|c2A2|G3:|\nd|g2fe|d2cB|c2A2|G3:|\n"
    sequence = arrange(abc.read_tune(pickup), "pickup")
    starts = [round(steps(sequence, note.start_time)) for note in part(sequence, 0)]
    assert starts[:3] == [14, 16, 20]


@pytest.mark.parametrize(
    ("meter", "reason"), [("6/8", "6/8 is not 4/4"), ("3/4", "3/4 is not 4/4")]
)
def test_other_meters_are_refused_with_the_meter(meter, reason):
    with pytest.raises(NotArrangedError, match=reason):
        arrange(reel(meter), "waltz")


def test_changes_and_scraps_are_refused():
    changing = reel()
    changing.time_signatures.add(time=16.0, numerator=3, denominator=4)
    changing.time_signatures.add(time=31.0, numerator=3, denominator=4)
    with pytest.raises(NotArrangedError, match="time signature changes"):
        arrange(changing, "changes")
    faster = reel()
    faster.tempos.add(time=3.0, qpm=150)
    with pytest.raises(NotArrangedError, match="tempo changes"):
        arrange(faster, "faster")
    with pytest.raises(NotArrangedError, match="shorter than 2 bars"):
        arrange(abc.read_tune("X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n"), "scrap")


def chorale(pickup=True):
    """Returns four voices with a pickup as MusicXML readers give it: short bars of their own."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=120)
    if pickup:
        for time, beats in ((0.0, 1), (0.5, 4), (8.5, 3), (10.0, 1), (10.5, 4), (16.5, 3)):
            sequence.time_signatures.add(time=time, numerator=beats, denominator=4)
    voices = {"Soprano": (72, 74, 76), "Alto": (67, 67, 67), "Tenor": (64, 62, 60)}
    for i, (name, pitches) in enumerate({**voices, "Bass": (48, 47, 36)}.items()):
        sequence.part_infos.add(part=i, name=name)
        start = 0.0
        for j in range(36):
            end = start + 0.5
            sequence.notes.add(
                pitch=pitches[j % 3], velocity=64, start_time=start, end_time=end, part=i
            )
            start = end
    return sequence


def test_a_chorale_keeps_soprano_and_bass_and_its_pickup_ends_a_bar():
    sequence = arrange(chorale(), "chorale")
    soprano, bass = part(sequence, 0), part(sequence, 33)
    assert [note.pitch for note in soprano] == [72, 74, 76] * 12
    assert [note.pitch for note in bass] == [48, 47, 36] * 12
    assert [round(steps(sequence, n.start_time)) for n in soprano[:3]] == [12, 16, 20]
    assert len(part(sequence, 0, True)) > 50
    plain = arrange(chorale(pickup=False), "chorale")
    assert round(steps(plain, part(plain, 0)[1].start_time)) == 4


def test_scores_for_other_parts_are_refused():
    sequence = chorale()
    sequence.part_infos[0].name = "Violin"
    with pytest.raises(NotArrangedError, match="soprano to bass"):
        arrange(sequence, "quartet")
    silent = chorale()
    for note in silent.notes:
        note.part = note.part or 3
    with pytest.raises(NotArrangedError, match="empty voice"):
        arrange(silent, "silent")


def test_a_source_is_read_and_arranged_and_says_what_it_left_out(tmp_path):
    book = tmp_path / "book.abc"
    book.write_text(REEL + "\nX:2\nT:Jig\nM:6/8\nL:1/8\nK:D\nABA DFA|ABA DFA|\n")
    (source,), _ = listing.list_sources(book)
    pieces, report = arranging.ArrangedSource(source.path, source.name).read()
    assert [piece.name for piece in pieces] == ["book.abc#X:1"]
    assert report.kept == {"pieces": 2, "arrangements": 1}
    assert report.dropped == {"time signature 6/8 is not 4/4 or 2/4": 1}


def test_collections_name_books_of_the_corpus():
    folk_files, _ = arranging.list_tunes("folk")
    chorales, _ = arranging.list_tunes("chorales")
    both, _ = arranging.list_tunes()
    assert len(both) == len(folk_files) + len(chorales)
    assert len(chorales) > 400
    assert not any("essen" in source.path for source in both)


def test_lead_sheets_have_melody_and_chords_of_the_same_piece_only():
    with_band, alone = (arrange(reel(), "lead", band=band) for band in (True, False))
    assert [n.pitch for n in alone.notes] == [n.pitch for n in part(with_band, 0)]
    assert [a.text for a in alone.text_annotations] == [a.text for a in with_band.text_annotations]
    assert alone.tempos[0].qpm == with_band.tempos[0].qpm
    sources, _ = arranging.list_tunes("leads")
    assert not any(source.band for source in sources)


def test_an_unknown_collection_is_told_with_the_known_ones():
    with pytest.raises(UserError, match="Did you mean chorales"):
        arranging.list_tunes("chorale")


def test_most_chorales_of_the_corpus_are_arranged():
    sources, _ = arranging.list_tunes("chorales")
    sources = [source for source in sources if source.name.startswith("bwv26")]
    names = [piece.name for source in sources for piece in source.read()[0]]
    assert len(names) > 0.6 * len(sources)
    assert "bwv26.6.mxl" in names
