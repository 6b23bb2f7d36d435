"""Small files made after public bug reports, with the right answers.

`cases/*.json` is {file: {"command": ..., "expect": ..., "class": kind, "source": public report}}.
The commands are the functions `_check_...` below.
"""

import json
from pathlib import Path

import processes
import pytest
from bad_files import write_good_files

from magenta_lite import config
from magenta_lite.converters import build_converter
from magenta_lite.converters.pedal import with_sustain
from magenta_lite.data import listing

FOLDER = Path(__file__).parent / "cases"
CASES = {
    name: case
    for path in sorted(FOLDER.glob("*.json"))
    for name, case in json.loads(path.read_text(encoding="utf-8")).items()
}


@pytest.mark.parametrize(
    "name", CASES, ids=[f"{case['class'].split()[0]}-{name}" for name, case in CASES.items()]
)
def test_case(name, tmp_path):
    case = CASES[name]
    COMMANDS[case["command"]](FOLDER / name, case["expect"], tmp_path)


def _check_read(path, expected, _):
    """Compares notes in quarter notes at the first tempo, or in seconds, and other facts."""
    pieces, dropped = _read(path)
    if not pieces and "or_refused" in expected:
        assert any(word in reason for word in expected["or_refused"] for reason in dropped)
        return
    assert len(pieces) == expected.get("pieces", len(pieces)), dropped
    sequence = pieces[0].sequence
    beats = (sequence.tempos[0].qpm if sequence.tempos else 120) / 60
    if "notes" in expected:
        wanted = [expected["notes"], expected.get("or_notes", expected["notes"])]
        assert any(_near(_notes(sequence, beats), each) for each in wanted), _notes(sequence, beats)
    if "hits" in expected:
        hits = [note[:2] for note in _notes(sequence, beats)]
        assert _near(hits, expected["hits"]), hits
    if "seconds" in expected:
        assert _near(_notes(sequence, 1), expected["seconds"]), _notes(sequence, 1)
    instruments = sorted({note.instrument for note in sequence.notes})
    if "voices" in expected:
        voices = [_notes(sequence, beats, instrument) for instrument in instruments]
        wanted = [notes for _, notes in sorted(expected["voices"].items())]
        assert len(voices) == len(wanted)
        assert all(map(_near, voices, wanted)), voices
    if "programs" in expected:
        found = {(n.instrument, 0 if n.is_drum else n.program, n.is_drum) for n in sequence.notes}
        assert sorted([program, drums] for _, program, drums in found) == sorted(
            expected["programs"]
        )
    if "tempos" in expected:
        tempos = [[tempo.time, tempo.qpm] for tempo in sequence.tempos]
        assert len(tempos) == len(expected["tempos"])
        for tempo, wanted in zip(tempos, expected["tempos"], strict=True):
            assert tempo == pytest.approx(wanted, abs=0.1)
    if "meter" in expected:
        meter = sequence.time_signatures[0]
        assert [meter.numerator, meter.denominator] == expected["meter"]


def _check_sustained(path, expected, _):
    """Compares notes in seconds after the sustain pedal is applied."""
    (piece,), _ = _read(path)
    notes = _notes(with_sustain(piece.sequence), 1)
    assert _near(notes, expected["seconds"]), notes


def _check_windows(path, expected, _):
    """Compares the windows of a configuration with those of the file `same_as`."""
    wanted = set(_windows(path.with_name(expected["same_as"]), expected["config"]))
    assert wanted
    assert set(_windows(path, expected["config"])) == wanted


def _check_kept(path, expected, _):
    """Checks that a configuration makes `windows` windows or more."""
    assert len(_windows(path, expected["config"])) >= expected["windows"]


def _check_train(path, expected, tmp_path):
    """Checks that a training with this file among good ones succeeds."""
    write_good_files(tmp_path / "data", 24)
    (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    _train("cat-mel_2bar_tiny", tmp_path)


def _check_primer(path, expected, tmp_path):
    """Checks that a melody is continued after all of its pitches."""
    write_good_files(tmp_path / "data", 24)
    _train("attention_rnn_tiny", tmp_path)
    code, out, error = processes.run(
        "magenta_lite.generate",
        f"--run_dir={tmp_path / 'run'}",
        f"--input={path}",
        "--new_steps=16",
        "--num_outputs=1",
        f"--output_dir={tmp_path / 'out'}",
    )
    assert code == 0, out + error
    (output,) = (tmp_path / "out").glob("*.mid")
    (piece,), _ = _read(output)
    notes = sorted(piece.sequence.notes, key=lambda note: note.start_time)
    wanted = expected["pitches"]
    assert [note.pitch for note in notes][: len(wanted)] == wanted


COMMANDS = {
    name.removeprefix("_check_"): function
    for name, function in list(globals().items())
    if name.startswith("_check_")
}


def _read(path):
    pieces, report = listing.read_all(path)
    return pieces, dict(report.dropped)


def _windows(path, name):
    converter = build_converter(config.get_config(name).converter)
    return [
        tuple(example.ravel().tolist())
        for piece in _read(path)[0]
        for example in converter.encode(piece.sequence).examples
    ]


def _train(name, folder):
    code, out, error = processes.run(
        "magenta_lite.train",
        f"--config={name}",
        f"--data={folder / 'data'}",
        f"--run_dir={folder / 'run'}",
        f"--data_dir={folder / 'built'}",
        "--set=train.steps=2",
        "--set=train.batch_size=4",
    )
    assert code == 0, out + error


def _notes(sequence, scale, instrument=None):
    """Returns [pitch, start, length] of each note, with times multiplied by `scale`."""
    return [
        [note.pitch, note.start_time * scale, (note.end_time - note.start_time) * scale]
        for note in sequence.notes
        if instrument in (None, note.instrument)
    ]


def _near(found, wanted):
    return len(found) == len(wanted) and all(
        a[0] == b[0] and a[1:] == pytest.approx(b[1:], abs=0.06)
        for a, b in zip(sorted(found), sorted(wanted), strict=True)
    )
