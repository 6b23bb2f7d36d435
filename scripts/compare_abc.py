"""Compares how ABC tunes are read here with how `abc2midi` plays them, note by note.

python scripts/compare_abc.py FOLDER_OR_FILE... [--show=20]

Prints the number of tunes of each kind of difference, and some tunes of each with what abc2midi
says of them. Needs abc2midi (Debian's package `abcmidi`).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import symusic

from magenta_lite.data import abc

Notes = list[tuple[float, float, int]]  # start and end in quarter notes, and pitch

SAME = "the same notes"
TOLERANCE = 0.12  # quarter notes; abc2midi spreads chords by some hundredths
FIELD = re.compile(r"\s*(%|[A-GZ]:(?!\s*[|:\]])|[H-Ymrsw+]:)")
# An inline field, which stays, or a decoration.
DECORATION = re.compile(r"(\[[A-Za-z]:[^\]]*\])|[THLMOPRSuv.~](?=[~THuv.]*[\^_=]*[A-Ga-g\[(])")
BAR_LINE = re.compile(r"\[?(?:::+|:*\|[|\]:]*)(?:\s*\[?\d+(?:[,-]\d+)*)?|\[\d+(?:[,-]\d+)*")
COMPLAINT = re.compile(r"(?m)^(?:Error|Warning) in line-char \S+ : (.*)$")
# Complaints that concern no notes.
HARMLESS = re.compile(r"time units|Track \d|reserved|ornament|chord name|without lyrics|No [MQKT]:")


def plain(tune: str) -> str:
    """Returns a tune without what abc2midi plays on top of its notes: trills, rolls, swing."""
    lines = []
    for line in tune.split("\n"):
        if FIELD.match(line):
            line = "R:plain" if line.startswith("R:") else line
        else:
            line = re.sub(r'![^!|]*!|\+[a-zA-Z.0-9]+\+|"[^"]*"|`', "", line)
            line = DECORATION.sub(lambda match: match[1] or "", line)
        lines.append(line)
    return re.sub(r"(?m)^\s*X:.*$", "X:1", "\n".join(lines), count=1)


def without_repeats(tune: str) -> str:
    """Returns a tune with plain bar lines, and without names of parts."""
    lines = [line for line in tune.split("\n") if not line.startswith("P:")]
    return "\n".join(line if FIELD.match(line) else BAR_LINE.sub("|", line) for line in lines)


def with_starts(tune: str) -> str:
    """Returns a tune with the `|:` that are left out, as the standard (2.1, section 4.8) has it.

    A repeat without `|:` begins at the latest double bar or end of a repeat.
    """
    lines = tune.split("\n")
    missing: list[tuple[int, int]] = []
    start = None
    is_open = False
    for row, line in enumerate(lines):
        for bar in [] if FIELD.match(line) else BAR_LINE.finditer(line):
            shape = bar[0].rstrip("0123456789,-[ ")
            ends, begins = shape.startswith(":"), shape.endswith(":")
            if ends and not is_open and start:
                missing.append(start)
            if ends or begins:
                is_open = begins
            if ends or (re.search(r"[|\]]{2}|\[\|", shape) and not is_open):
                start = row, bar.end()
    for row, column in reversed(missing):
        lines[row] = f"{lines[row][:column]} |: {lines[row][column:]}"
    return "\n".join(lines)


# A change after which both readers agree tells the reason of a difference.
REASONS = {
    "abc2midi goes back further than the latest double bar or end of a repeat": with_starts,
    "other order of repeats and endings": without_repeats,
}


def played(tune: str, folder: Path) -> tuple[Notes, list[str]]:
    """Returns the notes that abc2midi plays, none if it fails, and its complaints."""
    source, target = folder / "tune.abc", folder / "tune.mid"
    source.write_text(plain(tune), encoding="utf-8")
    target.unlink(missing_ok=True)
    command = ["abc2midi", str(source), "-o", str(target), "-NGRA", "-NGUI", "-NFER"]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    complaints = COMPLAINT.findall(done.stdout.decode("latin-1"))
    complaints = [text for text in complaints if not HARMLESS.search(text)]
    if not target.is_file():
        return [], complaints
    score = symusic.Score(str(target), sanitize_data=True)
    ticks = score.ticks_per_quarter
    notes = [
        (note.start / ticks, note.end / ticks, note.pitch)
        for track in score.tracks
        for note in track.notes
    ]
    return _from_zero(notes), complaints


def read(tune: str) -> Notes:
    """Returns the notes that magenta_lite reads.

    Raises:
        AbcError: If it reads none.
    """
    text = re.sub(r"\[Q:[^\]]*\]", "", re.sub(r"(?m)^\s*Q:.*", "%", tune))  # one tempo
    notes = abc.read_tune(text).notes
    return _from_zero([(note.start_time * 2, note.end_time * 2, note.pitch) for note in notes])


def _from_zero(notes: Notes) -> Notes:
    """Returns the notes in order, the first at 0, without unisons."""
    first = min((start for start, _, _ in notes), default=0)
    found: Notes = []
    for start, end, pitch in sorted(notes, key=_by_pitch):
        if not found or found[-1][2] != pitch or start - first - found[-1][0] > TOLERANCE / 2:
            found.append((start - first, end - first, pitch))
    return sorted(found)


def difference(tune: str, folder: Path) -> tuple[str, list[str]]:
    """Returns the kind of the difference of a tune, and what abc2midi says of it."""
    wanted, complaints = played(tune, folder)
    try:
        found = read(tune)
    except abc.AbcError as error:
        return f"read by {'abc2midi only' if wanted else 'neither'}: {error}", complaints
    if not wanted:
        return "read here only", complaints
    kind = _difference(found, wanted)
    if kind == SAME:
        return kind, complaints
    for reason, change in REASONS.items():
        changed = change(tune)
        try:
            if _difference(read(changed), played(changed, folder)[0]) == SAME:
                return reason, complaints
        except abc.AbcError:
            pass
    return kind, complaints


def _difference(found: Notes, wanted: Notes) -> str:
    if len(found) != len(wanted):
        return "another number of notes"
    pairs = list(zip(sorted(found, key=_by_pitch), sorted(wanted, key=_by_pitch), strict=True))
    if any(a[2] != b[2] for a, b in pairs):
        return "other pitches"
    if any(abs(a[0] - b[0]) > TOLERANCE for a, b in pairs):
        return "other starts"
    if any(abs(a[1] - b[1]) > TOLERANCE for a, b in pairs):
        return "other lengths"
    return SAME


def _by_pitch(note: tuple[float, float, int]) -> tuple[int, float]:
    return note[2], note[0]


def main() -> None:
    """Compares the tunes of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="ABC files and folders of them")
    parser.add_argument("--show", type=int, default=20, help="tunes to show of each kind")
    options = parser.parse_args()
    kinds: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for path in options.paths:
            for file in sorted(path.rglob("*.abc")) if path.is_dir() else [path]:
                for number, tune in abc.split_tunes(abc.decode(file.read_bytes())):
                    kind, complaints = difference(tune, Path(folder))
                    said = "; ".join(dict.fromkeys(complaints)) or "no complaint"
                    kinds[kind].append(f"{file.name}#X:{number}: {said}")
    for kind, tunes in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(tunes):6} {kind}")
        if kind != SAME:
            print("".join(f"         {tune[:200]}\n" for tune in tunes[: options.show]), end="")


if __name__ == "__main__":
    main()
