"""The commands as a user runs them, on a folder of their own music with bad files in it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import mido
import numpy as np
import processes
import pytest
import soundfile
from bad_files import write_bad_files, write_good_files

from magenta_lite.config import load_config
from magenta_lite.data.listing import read_file
from magenta_lite.training.run import load_run

ROOT = Path(__file__).parents[1]
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
    ended, out, error = processes.run(f"magenta_lite.{command}", *arguments, cwd=cwd)
    assert ended == code, out + error
    assert "Traceback" not in error
    return out, error


def told_in_one_line(command, *arguments, cwd, has):
    """Runs a command that ends with code 2 and one line of error, which has these words."""
    _, error = run(command, *arguments, cwd=cwd, code=2)
    lines = [line for line in error.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, error
    assert error.strip().endswith(lines[0]), error
    assert has in lines[0]


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
    expected = {"config.yaml", "converter.json", "environment.json", "metrics.jsonl", "events"}
    assert files >= expected | {"checkpoints"}


def test_what_it_says_to_do_next_works(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    (tmp_path / "data").symlink_to(place / "data")
    said = (place / "train.txt").read_text()
    steps = [line.split("magenta_lite.")[1] for line in said.splitlines() if "  python -m" in line]
    assert [step.split()[0] for step in steps] == ["generate", "evaluate", "export"]
    for step in steps:
        command, *arguments = shlex.split(step)
        run(command, *arguments, cwd=tmp_path)


def test_a_run_goes_on_with_its_data_wherever_they_are(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    without = shutil.ignore_patterns("pipe.mid")
    moved = tmp_path / "moved"
    # One of the files is huge: links instead of copies.
    shutil.copytree(place / "music", moved, True, without, copy_function=os.link)
    arguments = ["--run_dir=run", f"--data_dir={place / 'data'}"]

    def train(*more, steps, code=0):
        more = [*arguments, *more, "--set", f"train.steps={steps}"]
        return run("train", *more, cwd=tmp_path, code=code)

    def source():
        return load_config(tmp_path / "run" / "config.yaml").data.source

    assert source() == str(place / "music")
    out, error = train("--data=moved", steps=22)
    assert "Building" not in error
    assert "Warning" not in out
    assert source() == str(moved)
    moved.rename(tmp_path / "elsewhere")
    out, error = train(steps=24)
    assert "moved is gone; this is what was built of it" in error
    assert "Warning" not in out
    _, error = run("evaluate", "--run_dir=run", "--data_dir=none", cwd=tmp_path, code=2)
    assert "say where the music is now with --data=FOLDER" in error.splitlines()[-1]

    (tmp_path / "elsewhere" / "good_000.mid").unlink()
    _, error = train("--data=elsewhere", steps=26, code=2)
    assert "data.source" in error
    (tmp_path / "elsewhere").rename(moved)
    out, _ = train(steps=26)
    assert "Warning: the data have changed" in out


def test_the_same_command_again_has_nothing_left_to_do(place):
    arguments = ["--run_dir=run", "--data_dir=data"]
    out, _ = run("train", *arguments, cwd=place)
    assert "nothing left to train" in out


def test_samples_come_as_midi_sound_and_picture(place):
    arguments = ["--num_outputs=3", "--output_dir=sampled", "--programs=24"]
    out, _ = run("generate", "--run_dir=run", *arguments, cwd=place)
    paths = [place / line for line in out.splitlines()]
    assert [path.suffix for path in paths] == [".mid", ".wav", ".png"] * 3 + [".png"]
    assert not list((place / "sampled").glob(".*"))
    assert all(path.stat().st_size for path in paths)
    audio, rate = soundfile.read(paths[1])
    assert rate == 48_000
    assert 0.2 < np.abs(audio).max() < 0.9
    head = mido.MidiFile(paths[0]).tracks[0]
    assert head.name == paths[0].stem
    (about,) = (message.text for message in head if message.type == "text")
    assert re.fullmatch(
        r"magenta_lite cat-mel_2bar_tiny, mode sample, seed \d+, temperature 0.5", about
    )
    programs = {note.program for path in paths[:9:3] for note in read_file(path)[0].sequence.notes}
    assert programs == {24}


def test_a_call_writes_other_music_each_time_and_over_nothing(place):
    """Unless it is given a seed; and even then beside what is there."""
    arguments = ["--run_dir=run", "--num_outputs=1", "--output_dir=seeds"]
    calls = [run("generate", *arguments, cwd=place) for _ in range(2)]
    seeds = [
        re.search(r"^Seed: (\d+) \(--seed=\1 gives the same again\)$", e, re.M) for _, e in calls
    ]
    first, second = (int(found[1]) for found in seeds)
    assert first != second
    folder = place / "seeds"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = {f"run-sample-seed{seed}-001-of-001" for seed in (first, second)}
    assert {name.rpartition(".")[0] for name in before} == names
    out, error = run("generate", *arguments, f"--seed={first}", cwd=place)
    again = place / out.splitlines()[1]  # the MIDI before it has its name as its title
    assert again.name == f"run-sample-seed{first}-2-001-of-001.wav"
    assert again.read_bytes() == before[f"run-sample-seed{first}-001-of-001.wav"]
    assert "Seed:" not in error
    assert all((folder / name).read_bytes() == content for name, content in before.items())
    assert len(list(folder.iterdir())) == 9


def test_paths_may_begin_with_the_home_directory(place, monkeypatch):
    """And a reconstruction is written beside its input."""
    monkeypatch.setenv("HOME", str(place))
    arguments = ["--mode=reconstruct", "--input=~/music/good_000.mid", "--output_dir=~/back"]
    out, _ = run("generate", "--run_dir=~/run", "--seed=1", *arguments, cwd=place)
    names = [f"run-reconstruct-seed1-001-of-001{end}" for end in ("-input.mid", "-input.wav")]
    names += [f"run-reconstruct-seed1-001-of-001.{suffix}" for suffix in ("mid", "wav", "png")]
    assert [line for line in out.splitlines() if "/back/" in line] == [
        str(place / "back" / name) for name in names
    ]
    window, _ = (read_file(place / "back" / name)[0].sequence for name in (names[0], names[2]))
    tune = read_file(place / "music" / "good_000.mid")[0].sequence
    assert [n.pitch for n in window.notes] == [n.pitch for n in tune.notes][: len(window.notes)]
    assert not list(place.glob("~*"))


WITHOUT_TENSORFLOW = {
    "--mode=accompany": "music_vae model, which has: sample, reconstruct, interpolate, attribute",
    "--mode=smaple": "sample, reconstruct",
    "--primer_melody=[60]": "--primer_melody means nothing to this music_vae model",
    "--chords=C": "does not follow chords",
    "--programs=0,33": "must be 1",
    "--mode=interpolate": "two --input",
    "--tokens": "--tokens means nothing",
    "--seed=-1": "--seed",
}


def test_what_a_model_cannot_do_is_told_before_tensorflow_is_loaded(place):
    script = (
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from absl import flags\n"
        "from magenta_lite import cli, generate\n"
        "for argument in sys.argv[1:]:\n"
        "    for name in flags.FLAGS:\n"
        "        flags.FLAGS[name].unparse()\n"
        "    print(cli._call(generate.main, ['x', '--run_dir=run', argument]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *WITHOUT_TENSORFLOW],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("/", " "))]
    for (argument, words), error, code in zip(
        WITHOUT_TENSORFLOW.items(), lines[::2], lines[1::2], strict=True
    ):
        assert error.startswith("Error: ") and words in error, (argument, error)
        assert code == "2"


def test_reconstruction_and_interpolation_take_midi_of_any_length(place):
    tunes = [f"--input=music/good_{i:03d}.mid" for i in range(2)]
    out, _ = run(
        "generate", "--run_dir=run", "--mode=reconstruct", tunes[0], "--window=all", cwd=place
    )
    assert "7 pieces: " in out
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
ones = tf.ones([2])
rows = {"seed": tf.fill([2], 4), "temperature": 0.5 * ones, "top_p": ones, "qpm": 120 * ones}
again = model.signatures["serving_default"](**rows)
assert (again["events"].numpy() == notes["events"].numpy()[:1]).all()
print(json.dumps(notes["events"].numpy().tolist()))
"""


def test_saved_model_alone_gives_the_notes_that_generate_gives(place):
    run("export", "--run_dir=run", "--output=exported", cwd=place)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, "exported/1"], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    events = json.loads(done.stdout.splitlines()[-1])
    arguments = ["--num_outputs=3", "--seed=4", "--temperature=0.5", "--output_dir=same"]
    run("generate", "--run_dir=run", *arguments, cwd=place)

    import note_seq

    from magenta_lite.converters import build_converter

    converter = build_converter(load_config(place / "run" / "config.yaml").converter)
    written = sorted((place / "same").glob("*.mid"))
    for row, path in zip(events, written, strict=True):
        expected = converter.decode(row)
        actual = note_seq.midi_file_to_note_sequence(str(path))
        assert [(n.pitch, round(n.start_time, 3)) for n in expected.notes] == [
            (n.pitch, round(n.start_time, 3)) for n in actual.notes
        ]


# Fine-tuning -------------------------------------------------------------------------------------

FINE_TUNE = ["--config=cat-mel_2bar_tiny", "--data=music", "--data_dir=data", "--init_from=run"]


def test_fine_tuning_starts_with_the_weights_of_another_run(place):
    still = ("train.steps=2", "train.learning_rate=1e-12", "train.min_learning_rate=1e-12")
    out, _ = run("train", *FINE_TUNE, "--run_dir=tuned", *settings(*SMALL, *still), cwd=place)
    assert "Weights: those of run" in out
    before, after = (load_run(place / name) for name in ("run", "tuned"))
    assert (before.step, after.step) == (20, 2)
    # The schedules go on where those of the run end.
    there, tuned = before.config.objective, after.config.objective
    assert tuned.beta(1) == tuned.beta(9) > 0
    assert tuned.beta(1) == pytest.approx(there.beta(20))
    assert tuned.sampling_probability(0) == pytest.approx(there.sampling_probability(20))
    assert "Schedules: constant, as at step 20 of run: halfway and at the end" in out
    for a, b in zip(before.model.get_weights(), after.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("model.latent_size=9",), "model.latent_size (8 there, 9 here)"),
        (("converter.min_pitch=30",), "the converter differs"),
    ],
)
def test_fine_tuning_with_other_sizes_is_told_in_one_line(place, changes, words):
    arguments = [*FINE_TUNE, "--run_dir=other_sizes", *settings(*SMALL, *changes)]
    told_in_one_line("train", *arguments, cwd=place, has=words)
    assert not (place / "other_sizes").exists()


# Latent vectors ----------------------------------------------------------------------------------


def test_latents_of_two_folders_come_as_numbers_map_and_attribute(place):
    tunes = sorted((place / "music").glob("*.mid"))
    for name, some in (("busy", tunes[:5]), ("calm", tunes[5:8])):
        (place / name).mkdir()
        for path in some:
            shutil.copy(path, place / name)
    arguments = ["--input=busy", "--input=calm", "--output=latents"]
    out, _ = run("latents", "--run_dir=run", *arguments, cwd=place)
    written = [place / "latents" / name for name in ("latents.npz", "map.png", "attribute.npz")]
    assert out.splitlines()[-3:] == [str(path.relative_to(place)) for path in written]
    arrays = np.load(written[0])
    assert list(dict.fromkeys(arrays["piece"].tolist())) == [path.name for path in tunes[:8]]
    group = np.isin(arrays["piece"], [path.name for path in tunes[5:8]])
    np.testing.assert_array_equal(arrays["group"], group)
    assert arrays["mu"].shape == (len(group), 8)
    means = [arrays["mu"][arrays["group"] == group].mean(axis=0) for group in (0, 1)]
    attribute = np.load(written[2])["attribute"]
    np.testing.assert_allclose(attribute, means[0] - means[1], atol=1e-6)
    assert written[1].read_bytes().startswith(b"\x89PNG")
    told_in_one_line("latents", "--run_dir=run", *arguments, cwd=place, has="exists already")
    arguments = ["--mode=attribute", "--input=music/good_009.mid", "--output_dir=more"]
    arguments += [f"--attribute={written[2]}", "--amount=2"]
    out, _ = run("generate", "--run_dir=run", *arguments, cwd=place)
    assert "-attribute-" in out


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("train", ["--config=cat-mel2bar"], "Did you mean cat-mel_2bar"),
        ("train", ["--config=cat-mel_2bar", "--set", "train.step=1"], "train.steps"),
        ("train", ["--config=cat-mel_2bar", "--set", "train.steps=many"], "train.steps"),
        ("train", ["--config=cat-mel_2bar", "--stratgy=none"], "strategy"),
        ("train", ["--config=cat-mel_2bar", "--strategy=mirored"], "mirrored"),
        ("train", ["--config=cat-mel_2bar", "--data=nowhere"], "nowhere"),
        ("generate", ["--run_dir=nowhere"], "not a run directory"),
        ("generate", ["--run_dir=run", "--mode=smaple"], "sample"),
        ("generate", ["--run_dir=run", "--programs=x"], "--programs=x"),
        ("generate", ["--run_dir=run", "--programs=0,33"], "must be 1"),
        ("generate", ["--run_dir=run", "--soundfont=none.sf2"], "--soundfont=none.sf2"),
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
        ("latents", ["--run_dir=run"], "--input"),
        ("latents", ["--run_dir=run", "--input=nowhere", "--output=new"], "nowhere"),
        (
            "train",
            ["--config=cat-mel_2bar_tiny", "--minutes=1", "--set", "train.steps=5"],
            "one of",
        ),
        ("train", ["--config=cat-mel_2bar_tiny", "--run_dir=run", "--minutes=1"], "for a new run"),
        ("train", ["--config=one_drum", "--minutes=-1"], "--minutes"),
        ("evaluate", ["--run_dir=run", "--split=tset"], "test"),
        ("evaluate", ["--run_dir=run", "--checkpoint=7"], "there are those of step 10, 20"),
        ("generate", ["--run_dir=run", "--checkpoint=lats"], "best, newest or a step"),
        ("export", ["--run_dir=run", "--output=music"], "of versions holds nothing else"),
        ("export", ["--run_dir=run"], "--output"),
        ("import_checkpoint", ["--config=cat-mel_2bar", "--run_dir=x"], "--checkpoint"),
        (
            "import_checkpoint",
            ["--config=cat-mel_2bar", "--checkpoint=music", "--run_dir=x"],
            "no checkpoint",
        ),
        (
            "import_checkpoint",
            ["--config=musenet_tiny", "--checkpoint=music", "--run_dir=x"],
            "no published checkpoints",
        ),
    ],
)
def test_wrong_input_is_told_in_one_line(place, command, arguments, words):
    told_in_one_line(command, *arguments, cwd=place, has=words)


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
    "command",
    ["train", "generate", "evaluate", "export", "latents", "inspect_data", "import_checkpoint"],
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
