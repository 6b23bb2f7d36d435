"""Runs of strangers: their files lead nowhere, run nothing and are refused in one line."""

import json
import os
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from small_run import small_config

from magenta_lite.config import load_config
from magenta_lite.converters import build_converter
from magenta_lite.datasets import open_collection
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model, count_weights
from magenta_lite.training.run import load_run, write_imported_run
from magenta_lite.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with one checkpoint."""
    path = tmp_path_factory.mktemp("runs") / "run"
    config = small_config()
    converter = build_converter(config.converter)
    write_imported_run(config, converter, build_model(config, converter), 10, path, "x")
    return path


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def error_of(function, *arguments):
    """Returns the one line that a user gets to read."""
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value)


WRONG_METRICS = ("[1]", "3", '{"step": "x"}', '{"step": null}', '{"loss": 1}', "[" * 100_000)
WRONG_METRICS += ('{"step": 1, "val_loss": "x"}', '{"step": 1, "val_loss": [2]}', "1" * 5000)


@pytest.mark.parametrize("line", WRONG_METRICS)
def test_metrics_of_another_kind_are_told_by_their_line(line, run):
    (run / "metrics.jsonl").write_text('{"step": 10, "loss": 1.0}\n' + line + "\n")
    assert "metrics.jsonl, line 2" in error_of(load_run, run)


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {"starts": 3},
        {"starts": [3]},
        {"starts": [{"data": "x"}]},
        {"starts": [{"data": {"name": 3, "sizes": {}}}]},
        {"starts": [{"data": {"name": "x", "sizes": [1]}}]},
        {"starts": [{"data": {"name": "x", "sizes": {"train": "many"}}}]},
    ],
)
def test_an_environment_of_another_kind_is_told(tree, run):
    (run / "environment.json").write_text(json.dumps(tree))
    assert "environment.json does not list" in error_of(RunDirectory(run).last_data)
    config = load_config(run / "config.yaml")
    converter = build_converter(config.converter)
    data = {"name": "x", "sizes": {}}
    assert "environment.json" in error_of(RunDirectory(run).prepare, config, converter, data)


def test_nothing_is_written_through_a_link(run, tmp_path):
    other = tmp_path / "other.txt"
    for name in ("metrics.jsonl", "example.mid", ".lock"):
        (run / name).symlink_to(other)  # which need not exist
        message = error_of(RunDirectory(run).check, load_config(run / "config.yaml"))
        assert f"{name} is a link" in message
        (run / name).unlink()
    (tmp_path / "events").mkdir()
    (run / "events").symlink_to(tmp_path / "events")  # a folder on another disk
    RunDirectory(run).check(load_config(run / "config.yaml"))


def test_a_pipe_among_the_files_is_not_waited_for(run):
    os.mkfifo(run / "checkpoints" / "step-00000020.keras")
    os.mkfifo(run / "metrics.jsonl")
    assert load_run(run).step == 10


@pytest.mark.parametrize(
    "name",
    [
        *("huggingface:x", "kaggle:x", "user/repository:name", "x/y/z", "mnist/data_dir=x", ""),
        *("../x", "x/../y", "x:1", "x/a=1,b=2", "gs://x", "x\0y", "x\ny"),
    ],
)
def test_no_data_set_is_fetched_because_of_its_name(name, run, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds, "builder", lambda *_, **__: pytest.fail("it is looked for"))
    config = small_config(f"data.source={json.dumps(f'tfds:{name}')}")
    message = error_of(open_collection, config.data, config.converter, str(tmp_path))
    assert "is not tfds:NAME" in message


@pytest.mark.parametrize(
    "name", ["../../x", "/etc", "midi_dir/../../x", "mnist/3.0.1", "midi_dir//x", "midi_dir/\0", ""]
)
def test_a_data_set_of_a_run_lies_in_the_folder_of_data_sets(name, tmp_path):
    config = small_config("data.source=/no/such/folder")
    message = error_of(open_collection, config.data, config.converter, str(tmp_path), name or "/")
    assert "is not the name of a data set" in message


# Checkpoints of Keras -------------------------------------------------------------------------


def checkpoint_of(run):
    return run / "checkpoints" / "step-00000010.keras"


def rewrite(path, change):
    """Rewrites a checkpoint with `change(weights)` applied to its HDF5 file."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    weights = path.with_suffix(".h5")
    weights.write_bytes(contents["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        change(file)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            whole = weights.read_bytes() if name == "model.weights.h5" else content
            archive.writestr(name, whole)
    weights.unlink()


def largest(file):
    """Returns the name and the shape of the largest array of an HDF5 file, and removes it."""
    names: list[str] = []
    file.visit(names.append)
    arrays = [name for name in names if isinstance(file[name], h5py.Dataset)]
    name = max(arrays, key=lambda name: file[name].size)
    shape = file[name].shape
    del file[name]
    return name, shape


def reshape(file):
    name, _ = largest(file)
    file[name] = np.zeros(3, np.float32)


def remove(file):
    largest(file)


def enlarge(file):
    name, _ = largest(file)
    file.create_dataset(name, (2**40,), np.float32, chunks=(2**20,))


def lead_out(file):
    name, shape = largest(file)
    place = [("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
    file.create_dataset(name, shape, np.uint8, external=place)


@pytest.mark.parametrize("change", [reshape, remove, enlarge, lead_out])
def test_weights_of_another_kind_are_told(change, run):
    rewrite(checkpoint_of(run), change)
    assert "is intact" in error_of(load_run, run)


def test_a_layer_that_holds_code_does_not_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "was_run"
    layer = keras.layers.Lambda(lambda x: (open("was_run", "w").close(), x)[1])
    model = keras.Sequential([keras.Input((2,)), layer])
    marker.unlink()
    model.save(checkpoint_of(run))
    with pytest.raises(ValueError, match=r"Lambda|unsafe"):
        keras.saving.load_model(checkpoint_of(run))
    assert "is intact" in error_of(load_run, run)
    assert not marker.exists()
    keras.saving.load_model(checkpoint_of(run), safe_mode=False)
    assert marker.exists()  # so it would do harm


def test_a_checkpoint_that_unpacks_to_much_more_is_not_unpacked(run):
    with zipfile.ZipFile(checkpoint_of(run), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(2**24))
    assert "is intact" in error_of(load_run, run)


def test_a_model_is_not_built_that_is_larger_than_its_checkpoints(run):
    text = (run / "config.yaml").read_text()
    config = load_config(run / "config.yaml")
    before = count_weights(config, build_converter(config.converter))
    assert before == build_model(config, build_converter(config.converter)).count_params()
    size = config.model.latent_size
    (run / "config.yaml").write_text(
        text.replace(f"latent_size: {size}", "latent_size: 1000000000000")
    )
    assert "do not belong together" in error_of(load_run, run)
