"""Presets: what is packed is loaded, and whatever is wrong with one is told in one line."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import processes
import pytest

import magenta_lite as ml
from magenta_lite import cli, presets
from magenta_lite.midi import midi_bytes
from magenta_lite.presets import packing
from magenta_lite.training.run import load_run

SMALL = ("model.latent_size=6", "model.encoder_units=[8]", "model.decoder_units=[8,8]")
FACTS = {"about": "writes loops", "step": 7, "data": "tunes", "licence": "free", "flags": []}
LARGEST, LARGEST_TOGETHER = 10_000_000, 40_000_000  # bytes


@pytest.fixture(scope="module")
def run():
    config = ml.get_config("cat-mel_2bar_tiny", SMALL)
    return ml.as_run(config, ml.build_model(config))


@pytest.fixture(scope="module")
def loops(run, tmp_path_factory):
    """The folder of a preset `loops`."""
    folder = tmp_path_factory.mktemp("presets") / "loops"
    packing.pack(folder, run.config, run.converter, run.model, "# loops\n", "float16", **FACTS)
    return folder


@pytest.fixture
def installed(loops, monkeypatch):
    """Presets are read from the folder of `loops`."""
    monkeypatch.setattr(presets, "FOLDER", loops.parent)


@pytest.fixture
def copy(loops, tmp_path):
    return shutil.copytree(loops, tmp_path / "loops")


@pytest.mark.parametrize("path", ["loops", None], ids=["by name", "by folder"])
def test_a_loaded_preset_has_the_packed_weights(run, loops, installed, path):
    loaded = ml.load(path or loops)
    assert (loaded.step, loaded.config.name) == (7, "cat-mel_2bar_tiny")
    pairs = zip(run.model.weights, loaded.model.weights, strict=True)
    trained = {weight.path for weight in run.model.trainable_variables}
    for mine, theirs in pairs:
        tolerance = 1e-3 if mine.path in trained else 0
        np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), tolerance, 1e-6)
    assert len(loaded.generate(num_outputs=2, seed=1)) == 2


def test_float32_keeps_every_bit(run, tmp_path):
    for dtype in ("float16", "float32"):  # the second one replaces the first one
        packing.pack(tmp_path / "a", run.config, run.converter, run.model, "", dtype, **FACTS)
    modes = {path.stat().st_mode for path in (tmp_path / "a").iterdir()}
    assert len(modes) == 1  # whoever installs the package may read all files
    for mine, theirs in zip(run.model.weights, ml.load(tmp_path / "a").model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def test_runs_begin_with_the_weights_of_a_preset(run, loops, installed, tmp_path):
    """Without --config, the new run has the config of the preset."""
    music = tmp_path / "music"
    music.mkdir()
    for i, piece in enumerate(run.generate(num_outputs=6, seed=2, temperature=2.0, programs=(0,))):
        ml.write(piece, music / f"{i}.mid")
    arguments = [f"--init_from={loops}", f"--data={music}", "--run_dir=run", "--data_dir=data"]
    few = ["--set", "train.steps=2", "--set", "train.batch_size=4"]
    more = ["--set", "train.checkpoint_every=2", "--set", "train.learning_rate=1e-9"]
    more += ["--set", "train.min_learning_rate=1e-9"]
    code, out, error = processes.run("magenta_lite.train", *arguments, *few, *more, cwd=tmp_path)
    assert code == 0, out + error
    tuned, trained = load_run(tmp_path / "run"), load_run(loops).model.trainable_variables
    assert tuned.step == 2 and tuned.config.name == run.config.name
    for mine, theirs in zip(tuned.model.trainable_variables, trained, strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), atol=1e-6)
    again, _, _ = processes.run("magenta_lite.train", *arguments, *few, *more, cwd=tmp_path)
    assert again == 0
    code, out, error = processes.run(
        "magenta_lite.evaluate",
        f"--run_dir={loops}",
        f"--data={music}",
        "--data_dir=data",
        "--limit=1",
        "--split=train",
        "--output=numbers.json",
        cwd=tmp_path,
    )
    assert code == 0, out + error
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["examples"] == 1 and numbers["step"] == 7
    assert sorted(path.name for path in loops.iterdir()) == sorted(
        [*presets.CHECKED, presets.MANIFEST]
    )


def changed(folder, **values):
    path = folder / presets.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def shortened(folder):
    path = folder / presets.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "weights": (shortened, "weights.safetensors is damaged: its SHA-256"),
    "no weights": (lambda folder: (folder / presets.WEIGHTS).unlink(), "cannot be read"),
    "no manifest": (lambda folder: (folder / presets.MANIFEST).unlink(), "cannot be read"),
    "manifest": (lambda folder: changed(folder, step="7"), "preset.json is damaged"),
    "hash": (lambda folder: changed(folder, sha256={}), "is damaged: its SHA-256"),
    "other manifest": (lambda folder: changed(folder, more=1), "preset.json is damaged"),
    "newer": (lambda folder: changed(folder, format=2, more=1), "install a newer version"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damages_are_told_in_one_line(copy, damage):
    damages, words = DAMAGES[damage]
    damages(copy)
    with pytest.raises(ml.UserError) as caught:
        ml.load(copy)
    assert words in str(caught.value) and "install" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_config_do_not_fit(run, loops, tmp_path):
    other = ml.get_config("cat-mel_2bar_tiny", (*SMALL, "model.latent_size=8"))
    packing.pack(tmp_path / "a", other, run.converter, run.model, "", "float32", **FACTS)
    with pytest.raises(ml.UserError, match="does not fit config"):
        ml.load(tmp_path / "a")


def test_unknown_names_have_a_next_step(installed, monkeypatch, tmp_path):
    assert presets.names() == ["loops"]
    with pytest.raises(ml.UserError, match="Did you mean loops"):
        presets.folder_of("loop")
    with pytest.raises(ml.UserError, match="Known: loops"):
        presets.folder_of("piano")
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    with pytest.raises(ml.UserError, match="has no presets"):
        presets.folder_of("loops")


def test_a_preset_has_one_checkpoint(loops):
    with pytest.raises(ml.UserError, match="weights of step 7 only"):
        ml.load(loops, "500")
    assert ml.load(loops, "7").step == 7


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--preset=no_such_preset"], "Unknown preset 'no_such_preset'"),
        (["--preset=a", "--run_dir=b"], "are two models"),
        ([], "--run_dir or --preset is missing"),
    ],
)
def test_commands_tell_wrong_presets_in_one_line(flags, words, tmp_path):
    for command in ("generate", "evaluate", "latents", "export"):
        more = {"latents": ["--input=x"], "export": ["--output=y"]}.get(command, [])
        code, _, error = processes.run(f"magenta_lite.{command}", *flags, *more, cwd=tmp_path)
        assert code == 2 and words in error and len(error.splitlines()) == 1, error


def test_commands_take_the_name_of_a_preset_as_a_run_directory(loops, installed, monkeypatch):
    monkeypatch.setattr(cli, "FLAGS", SimpleNamespace(run_dir="loops", preset=None))
    assert cli.run_path() == loops
    assert presets.config_of(Path("loops")) == presets.config_of(loops)


@pytest.mark.parametrize(
    ("output", "words"), [("no/numbers.json", "no folder no; create it"), (".", "is a folder")]
)
def test_evaluate_checks_where_it_writes_before_it_loads_the_model(output, words, tmp_path):
    arguments = ("--run_dir=x", f"--output={output}")
    code, _, error = processes.run("magenta_lite.evaluate", *arguments, cwd=tmp_path)
    assert code == 2 and words in error and len(error.splitlines()) == 1, error


def test_the_list_says_what_there_is(installed, monkeypatch, tmp_path, capsys):
    from magenta_lite.presets import __main__ as listing

    listing.main()
    said = capsys.readouterr().out
    for part in ("loops\n", "writes loops", "float16", "tunes (free)", "--preset=loops"):
        assert part in said
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    listing.main()
    assert "has no presets" in capsys.readouterr().out


def test_a_preset_may_have_an_example_of_its_input(run, tmp_path, monkeypatch, capsys):
    from magenta_lite.presets import __main__ as listing

    facts = FACTS | {"flags": ["--mode=reconstruct", "--input={example}"]}
    folder, example = tmp_path / "a", midi_bytes(run.generate(num_outputs=1, seed=1)[0])
    given = ("example.mid", example)
    parts = (folder, run.config, run.converter, run.model, "", "float16", given)
    packing.pack(*parts, **facts)
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    listing.main()
    assert f"--input={folder}/example.mid" in capsys.readouterr().out
    (folder / "example.mid").write_bytes(example[:-1])
    with pytest.raises(ml.UserError, match="is damaged: its SHA-256"):
        presets.checked(folder)
    packing.pack(*parts, **facts)  # in its place
    assert presets.checked(folder).flags == facts["flags"]


def test_a_damaged_preset_is_listed_with_what_to_do(copy, monkeypatch, capsys):
    from magenta_lite.presets import __main__ as listing

    shortened(copy)
    monkeypatch.setattr(presets, "FOLDER", copy.parent)
    listing.main()
    assert "cannot be used" in capsys.readouterr().out


def test_presets_of_the_package_are_whole_and_small():
    sizes = {}
    for name in presets.names():
        folder = presets.folder_of(name)
        presets.checked(folder)
        sizes[name] = presets.size_of(folder)
    assert all(size <= LARGEST for size in sizes.values()), sizes
    assert sum(sizes.values()) <= LARGEST_TOGETHER, sizes


def test_the_config_of_a_preset_has_no_time_budget(run, tmp_path):
    train = dataclasses.replace(run.config.train, minutes=5.0)
    config = dataclasses.replace(run.config, train=train)
    packing.pack(tmp_path / "a", config, run.converter, run.model, "", "float16", **FACTS)
    assert ml.load(tmp_path / "a").config.train.minutes == 0
