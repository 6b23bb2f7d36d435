"""The commands as a user runs them, on a folder of their own music with bad files in it."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from magenta_lite.testing.bad_files import write_bad_files, write_good_files

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "music_vae" / "tiny-cat-mel_2bar_small"
SMALL = (
    "model.latent_size=8",
    "model.encoder_units=[16]",
    "model.decoder_units=[16,16]",
    "train.batch_size=16",
    "train.steps=20",
    "train.checkpoint_every=10",
)


def run(command, *arguments, cwd, code=0):
    """Runs a command; returns what it printed on standard output and on standard error."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", f"magenta_lite.{command}", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def settings(*texts):
    return [part for text in texts for part in ("--set", text)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with music, rubbish, and a run trained on it."""
    place = tmp_path_factory.mktemp("user")
    write_good_files(place / "music", 12)
    bad = write_bad_files(place / "music" / "found on a disk")
    (place / "bad.json").write_text(json.dumps(bad))
    out, error = run(
        "train",
        "--config=cat-mel_2bar_tiny",
        "--data=music",
        "--run_dir=run",
        "--data_dir=data",
        *settings(*SMALL),
        cwd=place,
    )
    (place / "train.txt").write_text(out + error)
    return place


def test_training_says_what_it_left_out_and_what_to_do_next(place):
    said = (place / "train.txt").read_text()
    for part in ("First step after", "step 20"):
        assert part in said
    for name, reason in json.loads((place / "bad.json").read_text()).items():
        if reason:
            assert name in said
            assert reason in said
    assert "python -m magenta_lite.generate --run_dir=run" in said
    files = {path.name for path in (place / "run").iterdir()}
    expected = {"config.yaml", "encoder.json", "environment.json", "metrics.jsonl", "events"}
    assert files >= expected | {"checkpoints"}


def test_the_same_command_again_has_nothing_left_to_do(place):
    arguments = ["--run_dir=run", "--data_dir=data"]
    out, _ = run("train", *arguments, cwd=place)
    assert "nothing left to train" in out


def test_samples_come_as_midi_sound_and_picture(place):
    out, _ = run("generate", "--run_dir=run", "--num_outputs=3", "--output_dir=sampled", cwd=place)
    paths = [place / line for line in out.splitlines()]
    assert [path.suffix for path in paths] == [".mid", ".wav", ".png"] * 3 + [".png"]
    assert all(path.stat().st_size for path in paths)
    audio, rate = soundfile.read(paths[1])
    assert rate == 44_100
    assert np.abs(audio).max() <= 1.0


def test_reconstruction_and_interpolation_take_midi_of_any_length(place):
    tunes = [f"--input=music/good_{i:03d}.mid" for i in range(2)]
    out, _ = run(
        "generate", "--run_dir=run", "--mode=reconstruct", tunes[0], "--window=all", cwd=place
    )
    assert "7 windows" in out
    arguments = ["--mode=interpolate", *tunes, "--num_outputs=5", "--output_dir=arc", "--qpm=90"]
    out, _ = run("generate", "--run_dir=run", *arguments, cwd=place)
    assert "window 1 of 7" in out
    assert len(list((place / "arc").glob("*.mid"))) == 5


def test_evaluation_prints_a_table_and_writes_json(place):
    out, _ = run("evaluate", "--run_dir=run", "--split=train", "--data_dir=data", cwd=place)
    numbers = json.loads((place / "run" / "evaluation-train.json").read_text())
    assert "nll_per_step" in out
    assert 0 < numbers["nll_per_step"] < 10
    assert 0 <= numbers["reconstruction_accuracy"] <= 1
    assert numbers["step"] == 20


SERVE = """
import json, sys
for name in ("magenta_lite", "keras", "tf_keras", "tensorflow_probability"):
    sys.modules[name] = None  # importing it raises ImportError
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
sample = model.signatures["sample"]
notes = sample(num_outputs=tf.constant(3), temperature=tf.constant(0.5), seed=tf.constant(4))
z = model.signatures["encode"](events=notes["events"], length=tf.fill([3], 32))["mu"]
greedy = {"temperature": tf.constant(0.0), "seed": tf.constant(0)}
decoded = model.signatures["decode"](z=z, **greedy)["events"]
arc = model.signatures["interpolate"](
    start=notes["events"][0], end=notes["events"][1], num_outputs=tf.constant(4), **greedy
)["events"]
assert arc.shape == (4, 32) and (arc[0].numpy() == decoded[0].numpy()).all()
default = model.signatures["serving_default"]
again = default(num_outputs=tf.constant(3), temperature=tf.constant(0.5), seed=tf.constant(4))
assert (again["events"].numpy() == notes["events"].numpy()).all()
print(json.dumps(notes["events"].numpy().tolist()))
"""


def test_saved_model_alone_gives_the_notes_that_generate_gives(place):
    run("export", "--run_dir=run", "--output=exported", cwd=place)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, "exported"], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    events = json.loads(done.stdout.splitlines()[-1])
    arguments = ["--num_outputs=3", "--seed=4", "--temperature=0.5", "--output_dir=same"]
    run("generate", "--run_dir=run", *arguments, cwd=place)

    import note_seq

    from magenta_lite.config import load_config
    from magenta_lite.encoders import build_encoder

    encoder = build_encoder(load_config(place / "run" / "config.yaml").encoder)
    written = sorted((place / "same").glob("*.mid"))
    for row, path in zip(events, written, strict=True):
        expected = encoder.decode(row)
        actual = note_seq.midi_file_to_note_sequence(str(path))
        assert [(n.pitch, round(n.start_time, 3)) for n in expected.notes] == [
            (n.pitch, round(n.start_time, 3)) for n in actual.notes
        ]


def test_a_checkpoint_of_the_original_becomes_a_run_that_generates(place):
    archive = place / "tiny.tar"
    with tarfile.open(archive, "w") as tar:
        for path in GOLDEN.glob("trained.ckpt*"):
            tar.add(path, arcname=f"some/folder/{path.name}")
    sizes = ("model.latent_size=16", "model.encoder_units=[20]", "model.decoder_units=[24,28]")
    arguments = ["--config=cat-mel_2bar_tiny", "--checkpoint=tiny.tar"]
    out, _ = run(
        "import_checkpoint", *arguments, "--run_dir=imported", *settings(*sizes), cwd=place
    )
    assert "step 1205" in out
    run("generate", "--run_dir=imported", "--num_outputs=1", "--output_dir=old", cwd=place)
    _, error = run("import_checkpoint", *arguments, "--run_dir=other", cwd=place, code=2)
    assert "belongs to another" in error
    cut = place / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:200_000])
    _, error = run(
        "import_checkpoint",
        "--config=cat-mel_2bar_tiny",
        "--checkpoint=cut.tar",
        "--run_dir=other",
        *settings(*sizes),
        cwd=place,
        code=2,
    )
    assert "cut.tar" in error
    assert not (place / "other").exists()


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("train", ["--config=cat-mel2bar"], "Did you mean cat-mel_2bar"),
        ("train", ["--config=cat-mel_2bar", "--set", "train.step=1"], "train.steps"),
        ("train", ["--config=cat-mel_2bar", "--set", "train.steps=many"], "train.steps"),
        ("train", ["--config=cat-mel_2bar", "--stratgy=none"], "strategy"),
        ("train", ["--config=cat-mel_2bar", "--strategy=mirored"], "mirrored"),
        ("train", ["--config=cat-mel_2bar", "--data=nowhere"], "nowhere"),
        ("train", [], "cat-mel_2bar_tiny"),
        ("generate", ["--run_dir=nowhere"], "not a run directory"),
        ("generate", ["--run_dir=run", "--mode=smaple"], "sample"),
        ("generate", ["--run_dir=run", "--mode=interpolate"], "two --input"),
        ("generate", ["--run_dir=run", "--mode=reconstruct", "--input=none.mid"], "none.mid"),
        (
            "generate",
            ["--run_dir=run", "--mode=reconstruct", "--input=music/found on a disk/text.mid"],
            "MIDI",
        ),
        (
            "generate",
            ["--run_dir=run", "--mode=reconstruct", "--input=music/good_000.mid", "--window=9"],
            "1 to 7",
        ),
        ("evaluate", ["--run_dir=run", "--split=tset"], "test"),
        ("export", ["--run_dir=run", "--output=music"], "exists"),
        ("export", ["--run_dir=run"], "--output"),
        ("import_checkpoint", ["--config=cat-mel_2bar", "--run_dir=x"], "--checkpoint"),
        (
            "import_checkpoint",
            ["--config=cat-mel_2bar", "--checkpoint=music", "--run_dir=x"],
            "no checkpoint",
        ),
    ],
)
def test_wrong_input_is_told_in_one_line(place, command, arguments, words):
    _, error = run(command, *arguments, cwd=place, code=2)
    last = error.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert words in last


def test_a_folder_of_junk_is_refused_with_the_report(place):
    junk = place / "junk"
    junk.mkdir()
    (junk / "a.mid").write_bytes(b"rubbish")
    (junk / "b.txt").write_text("rubbish")
    arguments = ["--config=cat-mel_2bar_tiny", "--data=junk", "--run_dir=no", "--data_dir=data"]
    _, error = run("train", *arguments, cwd=place, code=2)
    assert "not a MIDI file (a.mid)" in error
    assert not (place / "no").exists()


@pytest.mark.parametrize(
    "command", ["train", "generate", "evaluate", "export", "inspect_data", "import_checkpoint"]
)
def test_help_is_short_and_needs_no_tensorflow(command, tmp_path):
    code = (
        "import sys, runpy\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = sys.modules['note_seq'] = None\n"
        f"sys.argv = ['x', '--help']\n"
        f"runpy.run_module('magenta_lite.{command}', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"magenta_lite.{command}" in done.stdout
    assert "Flags:" in done.stdout
