"""`import magenta_lite as ml` as in a notebook: build, fit, generate, write, save, load again."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

import magenta_lite as ml
from magenta_lite.loudness import CEILING
from magenta_lite.testing.events import made_up_events
from magenta_lite.training.run_directory import RunDirectory

ROWS = 4
VAE = ("model.latent_size=6", "model.encoder_units=[8]", "model.decoder_units=[8,8]")
TRANSFORMER = ("model.hidden_size=16", "model.key_size=16", "model.filter_size=16")
TRANSFORMER += ("model.heads=2", "model.layers=1", "model.max_relative_position=16")
BAND = ("model.hidden_size=16", "model.heads=2", "model.layers=1", "converter.crop=64")
SOUND = ("model.width=4", "model.depth=1")
# Config, overrides, and options of `generate`.
MODELS = {
    "MusicVAE": ("cat-mel_2bar_tiny", VAE, {}),
    "MelodyRNN": ("attention_rnn_tiny", ("model.units=[8,8]",), {"num_steps": 32}),
    "MusicTransformer": ("music_transformer_tiny", TRANSFORMER, {"num_tokens": 40}),
    "MuseNet": ("musenet_nano", BAND, {"num_tokens": 40}),
    "VQVAE": ("vqvae_tiny", SOUND, {"mode": "reconstruct", "input": "tone.wav"}),
    "JukeboxPrior": ("jukebox_prior_tiny", ("model.width=16",), {"total_seconds": 0.6}),
    "DelayPrior": ("jukebox_delay_tiny", ("model.width=16",), {"total_seconds": 0.4}),
}
VQVAES = {"JukeboxPrior": ("vqvae_tiny", "VQVAE"), "DelayPrior": ("rvqvae_tiny", "residual")}


def batches(config) -> tf.data.Dataset:
    """Returns batches of made-up examples."""
    converter, rng = ml.build_converter(config.converter), np.random.default_rng(0)
    if config.converter.kind == "audio":
        batch = {"events": rng.uniform(-0.5, 0.5, (ROWS, 4096, 1)).astype(np.float32)}
    elif config.converter.kind == "codes":
        books = (config.model.quantizers,) if config.model.quantizers > 1 else ()
        events = rng.integers(0, 8, (ROWS, config.model.context, *books))
        batch = {"events": events, "labels": np.tile([[1000, 0, 256, 1, 2]], (ROWS, 1))}
    else:
        steps = min(converter.window_steps, 64)
        events = made_up_events(converter.event_format, ROWS, steps)
        batch = {"events": events.astype(np.int32), "length": np.full(ROWS, steps, np.int32)}
    return tf.data.Dataset.from_tensors(batch)


def contents(piece) -> list:
    if isinstance(piece, ml.Audio):
        return np.round(piece.samples[:, 0], 3).tolist()
    return [[n.pitch, round(n.start_time, 4), round(n.end_time, 4)] for n in piece.notes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("api")
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(4096) / 4000)
    soundfile.write(root / "tone.wav", tone.astype(np.float32), 4000)
    config = ml.get_config("rvqvae_tiny", SOUND)
    ml.as_run(config, ml.build_model(config)).save(root / "residual")
    return root


@pytest.fixture(scope="module")
def made(folder):
    """What each family wrote, by its class."""
    pieces = {}
    for name, (config_name, overrides, options) in MODELS.items():
        if name in VQVAES:
            overrides = (*overrides, f"converter.vqvae={folder / VQVAES[name][1]}")
        config = ml.get_config(config_name, overrides)
        keras.utils.set_random_seed(0)
        model = ml.build_model(config)
        model.compile(optimizer="adam", jit_compile=False)
        model.fit(batches(config), verbose=0)
        run = ml.as_run(config, model).save(folder / name)
        model.save(folder / f"{name}.keras")
        pieces[name] = run.generate(num_outputs=2, seed=3, **in_folder(options, folder))
    return pieces


def in_folder(options: dict, folder) -> dict:
    return options | {"input": folder / options["input"]} if "input" in options else options


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_built_fitted_and_writes_music(made, folder, name):
    for i, piece in enumerate(made[name]):
        kind = ".wav" if isinstance(piece, ml.Audio) else ".mid"
        path = ml.write(piece, folder / f"{name}-{i}{kind}")
        again = ml.read(path)
        assert len(contents(again)) == len(contents(piece)) > 0
    assert isinstance(made[name][0], ml.Audio) == (name in ("VQVAE", *VQVAES))


AGAIN = """
import json, sys
from pathlib import Path
import magenta_lite.models
import keras
loaded = {p.stem: type(keras.saving.load_model(p)).__name__ for p in Path(".").glob("*.keras")}
import magenta_lite as ml
sys.path.insert(0, sys.argv[1])
from test_api import MODELS, contents, in_folder
pieces = {}
for name, (_, _, options) in MODELS.items():
    outputs = ml.load(name).generate(num_outputs=2, seed=3, **in_folder(options, Path(".")))
    pieces[name] = [contents(piece) for piece in outputs]
print(json.dumps([loaded, pieces]))
"""


def test_another_process_loads_it_and_writes_the_same(made, folder):
    place = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, place], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded, pieces = json.loads(done.stdout.splitlines()[-1])
    assert loaded == {name: name for name in MODELS}
    for name, written in pieces.items():
        for mine, theirs in zip(map(contents, made[name]), written, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-3)


def test_a_run_continues_files_and_pieces_in_memory(made, folder):
    run = ml.load(folder / "MelodyRNN")
    (piece, _) = made["MelodyRNN"]
    ml.write(piece, folder / "tune.mid")
    by_name = run.generate(mode="continue", input=folder / "tune.mid", seed=1, num_outputs=1)
    in_memory = run.generate(mode="continue", input=piece, seed=1, num_outputs=1)
    assert contents(by_name[0]) == contents(in_memory[0])
    assert run.model.Options.family == "melody_rnn" and run.converter.encoding


def test_without_a_seed_each_call_gives_other_music(made, folder):
    run = ml.load(folder / "MusicTransformer")
    first, second = (run.generate(num_outputs=1, num_tokens=40)[0] for _ in range(2))
    assert contents(first) != contents(second)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temprature": 1.0}, "'temprature'. Did you mean temperature"),
        ({"style": "jazz"}, "Unknown option of a music_vae model 'style'"),
        ({"mode": "accompany"}, "not a mode of this music_vae model"),
        ({"mode": "reconstruct", "input": "missing.mid"}, "missing.mid"),
    ],
)
def test_wrong_options_are_told_in_one_line(made, folder, options, words):
    with pytest.raises(ml.UserError, match=words) as error:
        ml.load(folder / "MusicVAE").generate(**options)
    assert "\n" not in str(error.value)


def test_batches_of_a_folder_of_music_fit_a_model(made, folder, tmp_path):
    for i in range(8):
        notes = ml.read(folder / "MelodyRNN-0.mid")
        for note in notes.notes:
            note.program = 0
            note.pitch = 60 + (note.pitch + i * note.pitch // 7) % 12
        ml.write(notes, tmp_path / "music" / f"{i}.mid")
    overrides = (*VAE, f"data.source={tmp_path / 'music'}", "train.batch_size=2")
    config = ml.get_config("cat-mel_2bar_tiny", overrides)
    data = ml.dataset(config, data_dir=str(tmp_path / "built"))
    model = ml.build_model(config)
    model.compile(optimizer="adam", jit_compile=False)
    history = model.fit(data, steps_per_epoch=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    (batch,) = ml.dataset(config, "validation", 1, str(tmp_path / "built")).take(1)
    assert batch["events"].shape[0] == 1
    with pytest.raises(ml.UserError, match="give a batch_size up to that"):
        ml.dataset(config, "validation", 10_000, str(tmp_path / "built"))


def test_a_prior_takes_after_its_vqvae_and_the_labels_of_its_data(tmp_path):
    """Its codebook size and hop length differ from those of the prior's configuration."""
    rng, rows = np.random.default_rng(0), ["file,artist,genre"]
    for split in ("train", "validation", "test"):
        path = tmp_path / "music" / split / "a.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, 12_000), 8000)
        rows.append(f"{split}/a.wav,player {split},noise")
    (tmp_path / "music" / "labels.csv").write_text("\n".join(rows))
    sizes = ("model.width=4", "model.codes=16", "model.downs=[2,2]", "converter.sample_rate=8000")
    config = ml.get_config("vqvae_tiny", [*sizes, f"data.source={tmp_path / 'music'}"])
    keras.utils.set_random_seed(0)
    ml.as_run(config, ml.build_model(config)).save(tmp_path / "vqvae")

    config = ml.get_config(
        "jukebox_prior_tiny", ["model.depth=1", f"converter.vqvae={tmp_path / 'vqvae'}"]
    )
    data_dir = str(tmp_path / "built")
    model = ml.build_model(config)
    assert (model.sizes.codes, model.sizes.hop, model.sizes.sample_rate) == (16, 16, 8000)
    assert ml.as_run(config, model, data_dir).config.converter.genre_names == ()  # not built yet
    data = ml.dataset(config, batch_size=2, data_dir=data_dir)
    batch = next(iter(data))
    events, labels = batch["events"].numpy(), batch["labels"].numpy()
    assert events.shape == (2, 64) and 0 <= events.min() < events.max() < 16
    assert set(labels[:, 0]) == {12_000} and set(labels[:, 4]) == {1}
    model.compile(optimizer="adam", jit_compile=False)
    model.fit(data, steps_per_epoch=2, verbose=0)
    run = ml.as_run(config, model, data_dir)
    assert run.config.converter.genre_names == ("noise",)
    again = run.save(tmp_path / "prior")
    options = {"total_seconds": 0.3, "num_outputs": 1, "seed": 1, "genre": "noise"}
    (piece,), (same,) = run.generate(**options), again.generate(**options)
    assert piece.samples.shape == (2400, 1) and piece.sample_rate == 8000
    np.testing.assert_array_equal(piece.samples, same.samples)


def test_pieces_are_heard_and_seen(made, folder):
    (piece, _) = made["MelodyRNN"]
    sound = ml.synthesize(piece)
    assert 0.3 < np.abs(sound.samples).max() < CEILING + 1e-6
    assert ml.piano_roll(piece).axes and ml.piano_roll(sound).axes
    html = ml.show(piece)._repr_html_()
    assert "data:image/png;base64," in html and "data:audio/wav;base64," in html
    assert ml.write(piece, folder / "seen.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ml.UserError, match="none of the known suffixes"):
        ml.write(piece, folder / "tune.xyz")


def test_a_saved_run_is_trained_on_by_the_commands(made, folder):
    directory = RunDirectory(folder / "MusicVAE")
    assert directory.config.is_file() and directory.converter.is_file()
    with pytest.raises(ml.UserError, match="exists already"):
        ml.load(folder / "MusicVAE").save(folder / "MelodyRNN")


def test_the_package_names_what_it_offers_and_nothing_else():
    code = (
        "import sys, magenta_lite as ml; assert 'load' in dir(ml) and 'absl' not in dir(ml);"
        "assert 'tensorflow' not in sys.modules and 'note_seq' not in sys.modules;"
        "ml.get_config('cat-mel_2bar'); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        ml.nothing  # noqa: B018
    with pytest.raises(ImportError):
        from magenta_lite import nothing  # noqa: F401
