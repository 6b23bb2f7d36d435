"""Every command on sound: a VQ-VAE, a prior and an upsampler, from a folder to a song."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from processes import Program, run

RATE = 4000
CHECKPOINTS = Path(__file__).parent / "golden" / "jukebox" / "checkpoints"
QUICK = ("--set=train.checkpoint_every=4", "--set=train.steps=4", "--set=train.warmup_steps=2")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of sound in three splits, and the runs that the commands leave beside it."""
    root = tmp_path_factory.mktemp("sound")
    rng, rows = np.random.default_rng(0), ["file,artist,genre"]
    for split, count in (("train", 4), ("validation", 1), ("test", 1)):
        for i in range(count):
            seconds = np.arange(3 * RATE) / RATE
            tone = 0.4 * np.sin(2 * np.pi * (200 + 60 * i) * seconds)
            noise = 0.05 * rng.normal(size=len(seconds))
            path = root / "music" / split / f"{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone + noise, RATE)
            rows.append(f"{split}/{i}.wav,player {i % 2},tone")
    (root / "music" / "labels.csv").write_text("\n".join(rows))
    train(root, "vqvae_tiny", f"--data={root / 'music'}")
    prior = f"--vqvae={root / 'vqvae_tiny'}"
    train(root, "jukebox_prior_tiny", prior)
    train(root, "jukebox_upsampler_tiny", prior)
    return root


def train(root, config: str, *more: str) -> str:
    return call(root, "train", f"--config={config}", f"--run_dir={root / config}", *QUICK, *more)


def call(root, verb: str, *arguments: str) -> str:
    code, out, error = run(f"magenta_lite.{verb}", *arguments, *data_dir(root, verb))
    assert code == 0, out + error
    return out + error


def data_dir(root, verb: str) -> list[str]:
    return [f"--data_dir={root / 'data'}"] if verb in ("train", "evaluate", "generate") else []


def generate(root) -> list[str]:
    return [
        f"--run_dir={root / 'jukebox_prior_tiny'}",
        f"--upsamplers={root / 'jukebox_upsampler_tiny'}",
        "--total_seconds=1.5",
        "--num_outputs=2",
        "--artist=player 1",
    ]


def test_sound_comes_back_by_each_level(place):
    out = place / "back"
    song = place / "music" / "test" / "0.wav"
    call(
        place,
        "generate",
        f"--run_dir={place / 'vqvae_tiny'}",
        "--mode=reconstruct",
        f"--input={song}",
        f"--output_dir={out}",
    )
    names = sorted(path.name.rpartition("-")[2] for path in out.iterdir())
    assert len(list(out.glob("*level-0.wav"))) == len(list(out.glob("*level-1.wav"))) == 1
    assert names[-1] == "original.wav" and len(list(out.glob("*.png"))) == 1
    original, _ = soundfile.read(song)
    for path in out.glob("*level-*.wav"):
        heard, rate = soundfile.read(path)
        assert rate == RATE and heard.shape == original.shape


def test_evaluations_say_what_they_measure(place):
    call(place, "evaluate", f"--run_dir={place / 'vqvae_tiny'}")
    numbers = json.loads((place / "vqvae_tiny" / "evaluation-test.json").read_text())
    assert {"spectral_convergence_db_0", "si_sdr_db_1", "log_mel_distance_0"} <= set(numbers)
    assert 0 < numbers["codes_used_0"] <= 1
    text = call(place, "evaluate", f"--run_dir={place / 'jukebox_prior_tiny'}")
    assert "bits_per_code" in text


def test_saved_models_load_with_tensorflow_alone(place):
    import tensorflow as tf

    for name in ("vqvae_tiny", "jukebox_prior_tiny", "jukebox_upsampler_tiny"):
        call(place, "export", f"--run_dir={place / name}", f"--output={place / 'served' / name}")
    vqvae = tf.saved_model.load(str(place / "served" / "vqvae_tiny" / "1"))
    sound = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 800, 1)), tf.float32)
    codes = vqvae.signatures["encode"](audio=sound)
    assert [codes[f"codes_{i}"].shape for i in (0, 1)] == [(2, 200), (2, 100)]
    heard = vqvae.signatures["decode_1"](codes=codes["codes_1"])["audio"]
    again = vqvae.signatures["reconstruct"](audio=sound)["audio_1"]
    np.testing.assert_allclose(heard, again, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="multiple of 8"):
        vqvae.signatures["encode"](audio=sound[:, :797])
    prior = tf.saved_model.load(str(place / "served" / "jukebox_prior_tiny" / "1"))
    assert "sample" in prior.signatures


def test_a_song_that_is_killed_goes_on_and_ends_as_one_that_is_not(place):
    """By the same command, even where that says no seed; and all is as long as was asked for."""
    whole, parts = place / "whole", place / "parts"
    told = call(place, "generate", *generate(place), f"--output_dir={whole}")
    seed = re.search(r"--seed=(\d+) gives the same again", told)[1]
    arguments = [*generate(place), f"--output_dir={parts}", *data_dir(place, "generate")]
    program = Program("magenta_lite.generate", *arguments, f"--seed={seed}")
    unfinished = parts / f"jukebox_prior_tiny-sample-seed{seed}.codes.npz"
    while not unfinished.is_file():
        assert program.process.is_alive(), "it ended before it was killed"
        time.sleep(0.01)
    os.kill(program.process.pid, signal.SIGKILL)
    program.process.join()
    assert not list(parts.glob("*.wav"))
    assert f", of seed {seed}" in call(place, "generate", *arguments[:-1])
    assert not list(parts.glob(".*")) and not list(parts.glob("*.npz"))
    sounds = sorted(path.name for path in whole.glob("*.wav"))
    assert len(sounds) == 4  # two pieces by two levels
    for name in sounds:
        expected, _ = soundfile.read(whole / name)
        found, _ = soundfile.read(parts / name)
        assert len(found) == 1.5 * RATE
        np.testing.assert_array_equal(found, expected)


def test_a_song_goes_on_from_a_sound(place):
    out = place / "continued"
    call(
        place,
        "generate",
        *generate(place),
        "--mode=continue",
        f"--input={place / 'music' / 'test' / '0.wav'}",
        "--prompt_seconds=0.5",
        f"--output_dir={out}",
    )
    first, second = (soundfile.read(path)[0] for path in sorted(out.glob("*level-0.wav")))
    np.testing.assert_array_equal(first[: RATE // 4], second[: RATE // 4])
    assert not np.array_equal(first[RATE:], second[RATE:])


@pytest.mark.parametrize("name", ["jukebox_prior_tiny", "jukebox_upsampler_tiny"])
def test_the_python_api_completes_a_config_as_train_does(place, name):
    import magenta_lite as ml
    from magenta_lite.config import load_config

    config = ml.get_config(name, [f"converter.vqvae={place / 'vqvae_tiny'}"])
    run_ = ml.as_run(config, ml.build_model(config), str(place / "data"))
    trained = load_config(place / name / "config.yaml")
    for section in ("converter", "model", "data"):
        assert getattr(run_.config, section) == getattr(trained, section)
    assert run_.config.converter.artist_names == ("player 0", "player 1")
    (batch,) = ml.dataset(config, "test", 1, str(place / "data")).take(1)
    assert set(batch) >= {"events", "labels"} and batch["events"].shape == (1, 64)


@pytest.mark.parametrize("name", ["vqvae_legacy", "vqvae_module_prefix"])
def test_published_files_become_runs(tmp_path, name):
    """Of both formats of PyTorch, of a VQ-VAE with random weights in the original's layout."""
    run_dir = tmp_path / "run"
    text = call(
        tmp_path,
        "import_checkpoint",
        "--config=vqvae_tiny",
        f"--checkpoint={CHECKPOINTS / f'{name}.pth.tar'}",
        f"--run_dir={run_dir}",
    )
    assert "non-commercial" in text
    from magenta_lite.checkpoints.torch_files import read_torch_file, state_dict
    from magenta_lite.checkpoints.vqvae import state_of
    from magenta_lite.training.run import load_run

    state = state_dict(read_torch_file(CHECKPOINTS / f"{name}.pth.tar"))
    kept = state_of(load_run(run_dir).model)
    assert set(kept) == set(state)
    for key, array in state.items():
        np.testing.assert_array_equal(kept[key], array)


def test_a_published_upsampler_becomes_a_run(place, tmp_path):
    sizes = ["heads=2", "blocks=4", "conditioner_cycle=2", "conditioner_residual_scale=true"]
    call(
        tmp_path,
        "import_checkpoint",
        "--config=jukebox_upsampler_tiny",
        *(f"--set=model.{size}" for size in sizes),
        f"--checkpoint={CHECKPOINTS / 'upsampler.pth.tar'}",
        f"--vqvae={place / 'vqvae_tiny'}",
        f"--run_dir={tmp_path / 'run'}",
    )
    from magenta_lite.training.run import load_run

    run_ = load_run(tmp_path / "run")
    assert run_.model.upsamples and run_.config.converter.vqvae == str(place / "vqvae_tiny")


@pytest.mark.parametrize(
    ("verb", "arguments", "words"),
    [
        ("train", ["--config=jukebox_prior_tiny"], "--vqvae is missing"),
        ("train", ["--config=jukebox_prior_tiny", "--vqvae={}/none"], "not a run directory"),
        ("train", ["--config=vqvae_tiny", "--vqvae={}/vqvae_tiny"], "means nothing"),
        ("generate", ["--run_dir={}/vqvae_tiny", "--mode=reconstruct"], "needs --input=FILE"),
        ("generate", ["--run_dir={}/jukebox_upsampler_tiny"], "This run is an upsampler"),
        (
            "generate",
            ["--run_dir={}/jukebox_prior_tiny", "--upsamplers={}/vqvae_tiny"],
            "is not the run of an upsampler",
        ),
        ("generate", ["--run_dir={}/jukebox_prior_tiny", "--style=jazz"], "--style means nothing"),
        ("generate", ["--run_dir={}/vqvae_tiny"], "vqvae model, which has: reconstruct"),
        ("generate", ["--run_dir={}/jukebox_prior_tiny", "--temperatures=1,x"], "must be numbers"),
        (
            "generate",
            ["--run_dir={}/vqvae_tiny", "--mode=reconstruct", "--input={}/music/labels.csv"],
            "cannot be read",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(place, verb, arguments, words):
    filled = [argument.replace("{}", str(place)) for argument in arguments]
    code, _, error = run(f"magenta_lite.{verb}", *filled, *data_dir(place, verb))
    assert code == 2
    assert words in error and "Traceback" not in error
