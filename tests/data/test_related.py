"""Related pieces, and the splits that keep them together."""

from __future__ import annotations

import os
import random
import zipfile
from pathlib import Path

import numpy as np
import outlines
import pytest
from bad_files import midi_bytes

from magenta_lite.converters.base import Report
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.data import building, listing, reading, related, splitting

CONFIG = MelodyConverterConfig(bars=2)
REAL = Path(os.environ.get("MAGENTA_LITE_DATA", Path(__file__).parents[3] / "shared" / "data"))


def tune(seed: int, length: int = 64) -> np.ndarray:
    """Returns a random tune in eighths: pitch, start, end, part, program."""
    rng = np.random.default_rng(seed)
    pitches = 72 + np.cumsum(rng.choice([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5], length)) % 12
    starts = np.arange(length) / 4
    rows = [
        (pitch, start, start + 0.25, 0, 0) for pitch, start in zip(pitches, starts, strict=True)
    ]
    return np.array(rows, float)


def part(notes, number: int, program: int = 0) -> np.ndarray:
    """Returns notes in another part."""
    notes = np.array(notes, float)
    return np.concatenate([notes[:, :3], np.full((len(notes), 2), (number, program))], axis=1)


def transposed(notes, semitones: int) -> np.ndarray:
    return notes + np.array([semitones, 0, 0, 0, 0])


def later(notes, seconds: float) -> np.ndarray:
    return notes + np.array([0, seconds, seconds, 0, 0])


def played(notes, seed: int, tempo: float) -> np.ndarray:
    """Returns a performance: another tempo with rubato, and chords that are not together."""
    rng = np.random.default_rng(seed)
    times = (
        notes[:, 1:3] * tempo + 0.1 * np.sin(notes[:, 1:3]) + rng.uniform(0, 0.02, (len(notes), 1))
    )
    return np.concatenate([notes[:, :1], times, notes[:, 3:]], axis=1)


def with_band(notes) -> np.ndarray:
    """Returns an arrangement, in which other parts play chords above and a bass below."""
    bars = range(0, len(notes) // 8)
    chords = [
        (84 + 12 * (i % 2) + k, i * 2 + h, i * 2 + h + 0.9)
        for i in bars
        for h in (0, 1)
        for k in (0, 4)
    ]
    bass = [(36 + 7 * (h % 2), i * 2 + h / 2, i * 2 + h / 2 + 0.4) for i in bars for h in range(4)]
    return np.concatenate([notes, part(chords, 1), part(bass, 2, 33)])


def for_piano(notes) -> np.ndarray:
    """Returns an arrangement in one part: the tune above held chords."""
    bars = range(0, len(notes) // 8)
    chords = [(pitch, i * 2 + 0.13, i * 2 + 2) for i in bars for pitch in (48, 52, 55)]
    return np.concatenate([notes, part(chords, 0)])


def grouped(*pieces) -> list[int]:
    return related.groups([related.passages(piece) for piece in pieces]).tolist()


def one_by_one(notes: np.ndarray) -> tuple[list[int], list[bool]]:
    """Returns the first note of each chord, and whether a higher earlier one still sounds."""
    chords, covered = [], []
    for i, (pitch, start, *_) in enumerate(notes):
        if chords and start - notes[chords[-1], 1] < related.TOGETHER:
            continue
        earlier = notes[:i]
        covered.append(bool((earlier[earlier[:, 2] > start + related.TOGETHER, 0] > pitch).any()))
        chords.append(i)
    return chords, covered


@pytest.mark.parametrize("grid", [0.01, 0.025, 0.05, 0.3])
def test_chords_and_the_notes_below_others_are_those_found_one_by_one(grid):
    rng = np.random.default_rng(0)
    for count in (1, 2, 13, 40, 150):
        start = np.sort(rng.integers(0, 100, count) * grid + rng.choice([0, 1e-9], count))
        end = start + grid * rng.choice([0, 1, 5, 80], count)
        notes = np.stack([rng.integers(40, 90, count), start, end], axis=1)
        chords = related._chords(start)
        expected = one_by_one(notes)
        assert (chords.tolist(), related._covered(notes, chords).tolist()) == expected


@pytest.mark.parametrize(
    "form",
    [
        lambda notes: transposed(notes, -5),
        lambda notes: played(notes, 1, 1.3),
        lambda notes: with_band(transposed(notes, 2)),
        for_piano,
        lambda notes: notes[20:44],
        lambda notes: np.concatenate([tune(9)[:40], later(notes[10:40], 20)]),
    ],
    ids=["key", "performance", "band", "piano", "excerpt", "medley"],
)
def test_forms_of_a_work_are_related_and_other_tunes_are_not(form):
    assert grouped(tune(0), tune(1), form(tune(0)), tune(2)) == [0, 1, 0, 3]


def test_scales_patterns_and_a_few_common_notes_relate_nothing():
    scale = np.array([60, 62, 64, 65, 67, 69, 71, 72, 71, 69, 67, 65, 64, 62] * 6)
    scales = [np.stack([scale + k, *np.zeros((4, len(scale)))], axis=1) for k in range(3)]
    for k in range(3):
        scales[k][:, 1] = np.arange(len(scale)) / 4
    assert len(set(grouped(*scales))) == 3
    phrase = tune(5)[:14]
    few = [np.concatenate([phrase, later(tune(i)[:40], 4)]) for i in range(6, 9)]
    assert len(set(grouped(*few))) == 3


def test_a_phrase_that_very_many_pieces_have_does_not_relate_them():
    phrase = tune(0)[:30]
    pieces = [
        np.concatenate([phrase, later(tune(i, 32), 8)]) for i in range(1, related.COMMON + 60)
    ]
    assert len(set(grouped(*pieces))) == len(pieces)


def test_pieces_related_by_chance_alone_are_not_one_group():
    # Each piece shares 8 passages with the next one.
    rng = np.random.default_rng(0)
    own = [rng.integers(0, 2**63, 40).astype(np.uint64) for _ in range(300)]
    chain = [
        np.unique(np.concatenate([a, b[:8]])) for a, b in zip(own, [*own[1:], own[0]], strict=True)
    ]
    assert len(set(related.groups(chain).tolist())) == 300
    assert len(set(related.groups(chain[:90]).tolist())) == 1
    work = [np.unique(np.concatenate([a[:2], own[0]])) for a in own]
    assert len(set(related.groups([*work, own[1]]).tolist())) > 1


def test_pieces_are_compared_in_parts_as_at_once(monkeypatch):
    rng = np.random.default_rng(1)
    works = [np.unique(rng.integers(0, 2**64, 30, np.uint64)) for _ in range(40)]
    pieces = [
        np.unique(np.concatenate([works[i], works[j][:k]]))
        for i, j, k in zip(*rng.integers(0, (40, 40, 12), (100, 3)).T, strict=True)
    ]
    at_once = related.groups(pieces).tolist()
    monkeypatch.setattr(related, "PART", 100)
    assert related.groups(pieces).tolist() == at_once
    assert 5 < len(set(at_once)) < 60


def test_a_long_held_chord_and_odd_times_cost_no_time():
    held = np.array([(21 + i % 88, i / 1e4, 1e4, 0, 0) for i in range(60_000)], float)
    related.passages(held)
    broken = tune(0)
    broken[3, 1], broken[5, 2] = np.nan, np.inf
    related.passages(broken)
    assert not len(related.passages(np.zeros((0, 5)))) and not len(related.passages(tune(0)[:12]))


def write(path: Path, notes) -> None:
    """Writes a tune as a MIDI file, in quarters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi_bytes([(int(row[0]), i, i + 1) for i, row in enumerate(notes)]))


def forms_of(seed: int, count: int) -> list[np.ndarray]:
    """Returns forms of one work: in other keys, and with other notes here and there."""
    forms = [tune(seed)]
    for k in range(1, count):
        form = transposed(tune(seed), (k * 5) % 12 - 6)
        form[np.random.default_rng(k).choice(64, 2), 0] += 1
        forms.append(form)
    return forms


@pytest.fixture(scope="module")
def many_forms(tmp_path_factory) -> Path:
    """A folder of 60 works in five forms each."""
    folder = tmp_path_factory.mktemp("forms")
    for work in range(60):
        for k, form in enumerate(forms_of(work, 5)):
            write(folder / f"{random.Random(9 * work + k).random()} {work}.mid", form)
    return folder


def works(windows) -> set[str]:
    return {window.piece.split()[1] for window in windows}


def test_held_out_works_are_in_no_other_split_in_any_form(many_forms):
    built = building.build(*listing.list_sources(many_forms), CONFIG)
    train, validation, test = (works(built.splits[split]) for split in building.SPLITS)
    assert not train & (validation | test) and not validation & test
    total = sum(built.sizes.values())
    for split in ("validation", "test"):
        assert 0.05 <= built.sizes[split] / total <= 0.11
    assert not any("that train has" in reason for reason in built.report.dropped)


def test_all_files_of_a_folder_are_in_one_split_by_folder(tmp_path):
    for i in range(60):
        write(tmp_path / f"composer/{i % 15}/{i}.mid", tune(i))
    write(tmp_path / "alone.mid", tune(60))
    sources = listing.list_sources(tmp_path)
    by_folder = building.build(*sources, CONFIG, by_folder=True)
    by_content = building.build(*sources, CONFIG)

    def folders(windows):
        return [
            {Path(window.piece).parent for window in windows.splits[s]} for s in building.SPLITS
        ]

    train, validation, test = folders(by_folder)
    assert validation and test
    assert not train & (validation | test) and not validation & test
    assert folders(by_content)[0] & folders(by_content)[1]


def outline(name: str, windows: int = 10, passages=related.NONE) -> outlines.Piece:
    """Returns a piece with a number of windows of its own."""
    first = splitting.piece_hash(name) // 2
    return outlines.made_up(name, range(first, first + windows), passages)


def shares(pieces) -> dict[str, float]:
    """Returns the share of the windows of each split."""
    assigned = outlines.assign(pieces)
    total = sum(len(piece.windows) for piece in pieces)
    return {
        split: sum(len(p.windows) for p in pieces if assigned[p.content] == split) / total
        for split in splitting.SPLITS
    }


def test_splits_are_filled_by_windows_and_a_giant_is_in_training():
    work = np.arange(50, dtype=np.uint64)
    giant = [outline(f"giant {i}", 10, np.append(work, np.uint64(100 + i))) for i in range(600)]
    rest = [outline(f"{i}", 1 + i % 40) for i in range(200)]
    found = shares(giant + rest)
    assert 0.05 <= found["validation"] <= 0.1 and 0.05 <= found["test"] <= 0.1
    assigned = outlines.assign(giant + rest)
    assert {assigned[piece.content] for piece in giant} == {"train"}


def test_windows_that_other_groups_have_do_not_fill_a_split():
    common = np.arange(9, dtype=np.uint64)
    made = [outline(f"{i}", 1) for i in range(200)]
    made = [piece._replace(windows=np.append(piece.windows, common)) for piece in made]
    assigned = list(outlines.assign(made).values())
    assert 10 <= assigned.count("validation") <= 22


def test_the_order_of_files_does_not_matter_and_new_ones_move_few():
    passages = [related.passages(tune(i // 3)) for i in range(300)]
    old = [outline(f"{i}", 10, p) for i, p in enumerate(passages)]
    assigned = outlines.assign(old)
    assert outlines.assign(random.Random(0).sample(old, 300)) == assigned
    more = outlines.assign([*old, *(outline(f"new {i}") for i in range(300))])
    moved = sum(more[piece.content] != assigned[piece.content] for piece in old)
    assert moved <= 15


@pytest.mark.skipif(not REAL.is_dir(), reason="the published data sets are not beside the checkout")
def test_performances_of_a_work_are_related_and_other_works_are_not(tmp_path):
    with zipfile.ZipFile(REAL / "asap_bach_haydn_schubert.zip") as archive:
        names = [name for name in archive.namelist() if "/bwv_8" in name and name.endswith(".mid")]
        chosen = sorted(names)[:60]
        archive.extractall(tmp_path, chosen)
    pieces = [
        (name.rsplit("/", 1)[0], related.passages_of(piece.sequence))
        for name in chosen
        for piece in reading.read_source(reading.Source(str(tmp_path / name), name))[0]
    ]
    groups = related.groups([passages for _, passages in pieces]).tolist()
    pairs = {(work, group) for (work, _), group in zip(pieces, groups, strict=True)}
    assert len(pairs) == len({work for work, _ in pieces}) == len(set(groups)) > 5


def warned(train: int, validation: int, shared: int = 0, train_only: int = 0) -> str:
    report = Report()
    report.drop("validation window that train has too, in some key", n=shared)
    report.keep(splitting.TRAIN_ONLY, train_only)
    return splitting.small_validation({"train": train, "validation": validation}, report)


def test_few_validation_windows_are_reported_with_the_reason():
    assert warned(9000, 500) == warned(90_000, 500, train_only=81_000) == ""
    assert warned(100, 0) == ""
    lost = warned(9950, 50, shared=400)
    assert "50 windows, 0.5% of all, because 400 more of its windows are in other splits" in lost
    assert "because there are few in all" in warned(100, 10)
    assert "related to each other" in warned(90_000, 500)
