"""The pianist who plays tunes and chorales: what is played, and that it is always the same."""

import hashlib
import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.converters.performance import PerformanceConverter, PerformanceConverterConfig
from magenta_lite.data import abc, building
from magenta_lite.data.synthetic import rendering
from magenta_lite.data.synthetic.arranging import NotArrangedError
from magenta_lite.data.synthetic.harmony import Triad
from magenta_lite.data.synthetic.rendering import (
    FINAL,
    LEFT_HANDS,
    RUBATO,
    TUNE_QPM,
    Clock,
    Note,
    render,
)
from magenta_lite.errors import UserError

ROOT = Path(__file__).parents[2]
DUMMY = ROOT / "tfds_datasets" / "rendered" / "dummy_data"
REEL = """X:1
M:4/4
L:1/8
K:G
|: G2BG DGBG | A2AB c2BA | G2BG DGBd | c2AF G4 |
g2bg dgbg | a2ab c'2ba | g2fe d2cB | c2AF G4 :|
"""
VOICES = {
    "Soprano": (72, 74, 76),
    "Alto": (67, 67, 69),
    "Tenor": (64, 62, 60),
    "Bass": (48, 47, 41),
}


def chorale(beats=32):
    """Returns four voices in quarter notes."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=120)
    for part, (name, pitches) in enumerate(VOICES.items()):
        sequence.part_infos.add(part=part, name=name)
        for i in range(beats):
            sequence.notes.add(
                pitch=pitches[i % 3], velocity=64, start_time=i / 2, end_time=i / 2 + 0.5, part=part
            )
    return sequence


SCORES = {"reel": abc.read_tune(REEL), "chorale": chorale()}
NAMES = [f"piece {i}" for i in range(12)]
PLAYED = {(score, name): render(SCORES[score], name) for score in SCORES for name in NAMES}
EVERY = pytest.mark.parametrize("sequence", PLAYED.values(), ids=map(str, PLAYED))


def test_the_name_decides_everything_in_every_process():
    code = (
        "import hashlib, sys\n"
        "from magenta_lite.data import abc\n"
        "from magenta_lite.data.synthetic import rendering\n"
        "sequence = rendering.render(abc.read_tune(sys.argv[1]), 'piece 0')\n"
        "print(hashlib.sha256(sequence.SerializeToString(deterministic=True)).hexdigest())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, REEL],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = PLAYED["reel", "piece 0"].SerializeToString(deterministic=True)
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()
    assert len({s.SerializeToString(deterministic=True) for s in PLAYED.values()}) == len(PLAYED)


@EVERY
def test_every_key_goes_down_and_up_before_it_is_struck_again(sequence):
    assert min(note.start_time for note in sequence.notes) >= 0
    for _, group in itertools.groupby(
        sorted(sequence.notes, key=lambda n: (n.pitch, n.start_time)), key=lambda n: n.pitch
    ):
        notes = list(group)
        assert all(note.end_time - note.start_time >= 0.015 for note in notes)
        for note, following in itertools.pairwise(notes):
            assert note.end_time < following.start_time
    assert sequence.total_time == max(note.end_time for note in sequence.notes)


@EVERY
def test_velocities_vary_and_the_melody_is_louder(sequence):
    assert all(1 <= note.velocity <= 127 for note in sequence.notes)
    assert len({note.velocity for note in sequence.notes}) > 15
    melody, rest = [], []
    for note in sequence.notes:
        (rest if note.part else melody).append(note.velocity)
    assert sum(melody) / len(melody) > sum(rest) / len(rest) + 5


@EVERY
def test_the_pedal_goes_down_and_up_in_turn(sequence):
    changes = list(sequence.control_changes)
    assert {change.control_number for change in changes} == {64}
    assert len(changes) >= 6
    assert [change.control_value for change in changes] == [127, 0] * (len(changes) // 2)
    for change, following in itertools.pairwise(changes):
        assert 0 < change.time < following.time


def test_the_pedal_changes_with_the_harmony():
    home, away = Triad(0, False), Triad(7, False)
    chords = [home, home, home, away, away, home, home, home]
    for seed in range(8):
        clock = Clock([Note(4, 60, 60, 0)], 64, 100.0, random.Random(seed))
        times = list(rendering._pedal(chords, clock, random.Random(seed)))
        changes = [clock(step) for step in (16, 24, 32, 40, 48, 60)]
        for (down, _), (up, _) in zip(times[::2], times[1::2], strict=True):
            (i,) = (i for i, time in enumerate(changes) if 0.06 <= down - time <= 0.12)
            assert 0 <= up - changes[i + 1] <= 0.04


def test_the_melody_leads_and_chords_are_not_together():
    leads, rolls = [], []
    for name in NAMES:
        notes = sorted(PLAYED["chorale", name].notes, key=lambda note: note.start_time)
        melody = [note.start_time for note in notes if note.part == 0]
        bass = [note.start_time for note in notes if note.part == 2]
        inner = [note.start_time for note in notes if note.part == 1]
        assert len(melody) == 32
        for time in melody:
            rolls.append(min(abs(time - other) for other in inner))
            leads.append(min((other - time for other in bass), key=abs))
    assert 0.01 < sum(leads) / len(leads) < 0.04
    assert max(rolls) < 0.1
    assert sum(roll > 0 for roll in rolls) > 0.9 * len(rolls)


@pytest.mark.parametrize("seed", range(8))
def test_the_tempo_breathes_within_its_bounds_and_slows_down_at_the_end(seed):
    score = [Note(step, 60, step + 4, 0) for step in range(0, 8 * 16, 4)]
    clock = Clock(score, 64, 100.0, random.Random(seed))
    body, end = clock.tempo[:-16], clock.tempo[-16:]
    assert 100 * (1 - RUBATO[1]) <= min(body) < 97 < 101 < max(body) <= 100 * (1 + RUBATO[1] / 2)
    assert sum(body) / len(body) == pytest.approx(100, rel=0.03)
    assert end == sorted(end, reverse=True)
    assert 100 * (1 - RUBATO[1]) * FINAL[0] <= end[-1] < 80
    seconds = [clock(step / 2) for step in range(2 * 8 * 16 + 1)]
    for now, later in itertools.pairwise(seconds):
        assert 0.07 < later - now < 7.5 / (100 * (1 - RUBATO[1]) * FINAL[0])


def test_pieces_differ_in_tempo_and_loudness():
    lengths = {round(PLAYED["reel", name].total_time) for name in NAMES}
    levels = {PLAYED["reel", name].notes[0].velocity for name in NAMES}
    assert len(lengths) > 6 and len(levels) > 6
    shortest, longest = 16 * 4 * 60 / (TUNE_QPM[1] * 1.07), 16 * 4 * 60 / (TUNE_QPM[0] * 0.8)
    assert shortest - 2 < min(lengths) <= max(lengths) < longest + 2


@EVERY
def test_the_converter_of_performances_reads_all_of_it(sequence):
    converter = PerformanceConverter(PerformanceConverterConfig())
    result = converter.encode(sequence)
    assert not result.report.dropped
    decoded = converter.decode(converter.ids_of(sequence))
    assert sorted(note.pitch for note in decoded.notes) == sorted(n.pitch for n in sequence.notes)
    assert any(note.velocity < 127 for note in decoded.notes)


@pytest.mark.parametrize("score", SCORES)
def test_the_melody_stays_what_it_was(score):
    first = [n for n in SCORES[score].notes if score == "reel" or n.part == 0]
    for name in NAMES:
        notes = sorted(PLAYED[score, name].notes, key=lambda note: note.start_time)
        melody = [note.pitch for note in notes if note.part == 0]
        assert len(melody) == len(first)
        octave = melody[0] - first[0].pitch
        assert octave % 12 == 0
        assert melody == [note.pitch + octave for note in first]


def test_left_hands_fill_half_a_bar():
    for pattern in LEFT_HANDS:
        assert all(0 <= step < step + length <= 8 for step, length, _ in pattern)
        assert all(set(tones) <= set("BOLMH") for _, _, tones in pattern)
        assert pattern[0][0] == 0


def test_other_meters_and_scraps_are_refused_with_their_reason():
    with pytest.raises(NotArrangedError, match="6/8 is not 4/4"):
        render(abc.read_tune(REEL.replace("4/4", "6/8")), "jig")
    with pytest.raises(NotArrangedError, match="shorter than 2 bars"):
        render(abc.read_tune("X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n"), "scrap")


def test_all_rows_of_a_piece_are_in_one_split(monkeypatch):
    monkeypatch.setattr(rendering.arranging.folk, "corpus_folder", lambda: DUMMY)
    config = PerformanceConverterConfig(crop=64)
    windows = building.build(*rendering.list_pieces(), config)
    assert windows.report.kept["performances"] == 10
    pieces = {name: {window.piece for window in split} for name, split in windows.splits.items()}
    assert all(pieces.values())
    assert sum(map(len, pieces.values())) == len(set.union(*pieces.values())) == 10
    chorales, _ = rendering.list_pieces("chorales")
    assert [source.name for source in chorales] == ["hymn1.xml", "hymn2.xml"]
    with pytest.raises(UserError, match=r"rendered collection 'choral'.*chorales"):
        rendering.list_pieces("choral")


def test_performance_models_train_on_it_unless_told_otherwise():
    from magenta_lite.config import get_config

    assert get_config("music_transformer_tiny").data.source == "rendered"
    assert get_config("music_transformer_jsb").data.source == "jsb_chorales"
