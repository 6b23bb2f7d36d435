"""`import_checkpoint` as a user runs it: checkpoints of the original, whole and damaged."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from test_commands import run, settings, told_in_one_line

from magenta_lite.checkpoints.tf1 import open_checkpoint
from magenta_lite.training.run import load_run

GOLDEN = Path(__file__).parent / "golden" / "music_vae" / "tiny-cat-mel_2bar_small"
IMPORTED_SIZES = ("model.latent_size=16", "model.encoder_units=[20]", "model.decoder_units=[24,28]")


def golden_values():
    """Returns the variables of the recorded checkpoint by name."""
    with open_checkpoint(GOLDEN / "trained.ckpt") as variables:
        return {name: np.asarray(variables[name]) for name in variables}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The recorded checkpoint as a tar and as a magenta-js folder, whole and damaged."""
    place = tmp_path_factory.mktemp("imported")
    with tarfile.open(place / "tiny.tar", "w") as tar:
        for path in GOLDEN.glob("trained.ckpt*"):
            tar.add(path, arcname=f"some/folder/{path.name}")
    (place / "cut.tar").write_bytes((place / "tiny.tar").read_bytes()[:200_000])
    write_magenta_js(place / "js", golden_values())
    shutil.copytree(place / "js", place / "js_cut")
    shard = place / "js_cut" / "group1-shard1of1"
    shard.write_bytes(shard.read_bytes()[:-5])
    return place


def write_magenta_js(folder, values):
    """Writes a folder of magenta-js with weights of two bytes each."""
    weights, data = [], b""
    for name, value in values.items():
        low, levels = float(value.min()), 2**16 - 1
        scale = float(value.max() - low) / levels or 1.0
        data += np.round((value - low) / scale).astype("<u2").tobytes()
        quantization = {"dtype": "uint16", "scale": scale, "min": low}
        entry = {"name": name, "shape": list(value.shape), "dtype": "float32"}
        weights.append(entry | {"quantization": quantization})
    folder.mkdir()
    manifest = [{"paths": ["group1-shard1of1"], "weights": weights}]
    (folder / "weights_manifest.json").write_text(json.dumps(manifest))
    (folder / "group1-shard1of1").write_bytes(data)
    arguments = {"numSteps": 32, "minPitch": 21, "maxPitch": 108}
    converter = {"type": "MelodyConverter", "args": arguments}
    config = {"type": "MusicVAE", "dataConverter": converter}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(("source", "tolerance"), [("tiny.tar", 0), ("js", 1e-4)])
def test_a_checkpoint_of_the_original_becomes_a_run_that_generates(checkpoints, source, tolerance):
    out, _ = run(
        "import_checkpoint",
        "--config=cat-mel_2bar_tiny",
        f"--checkpoint={source}",
        f"--run_dir=from_{source}",
        *settings(*IMPORTED_SIZES),
        cwd=checkpoints,
    )
    assert "step 1205" in out or source == "js"
    model = load_run(checkpoints / f"from_{source}").model
    for name, layer in (("mu", model.mu), ("sigma", model.sigma)):
        expected = golden_values()[f"encoder/{name}/kernel"]
        np.testing.assert_allclose(layer.kernel, expected, rtol=0, atol=tolerance)
    arguments = ["--num_outputs=1", f"--output_dir=old_{source}"]
    out, _ = run("generate", f"--run_dir=from_{source}", *arguments, cwd=checkpoints)
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize(
    ("config", "source", "sizes", "words"),
    [
        ("cat-mel_2bar_tiny", "tiny.tar", (), "belongs to another"),
        ("cat-drums_2bar_tiny", "tiny.tar", IMPORTED_SIZES, "belongs to another"),
        ("cat-drums_2bar_tiny", "js", IMPORTED_SIZES, "MelodyConverter"),
        ("cat-mel_2bar_tiny", "cut.tar", IMPORTED_SIZES, "cut.tar"),
        ("cat-mel_2bar_tiny", "js_cut", IMPORTED_SIZES, "group1-shard1of1"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_told_in_one_line(
    checkpoints, config, source, sizes, words
):
    arguments = [f"--config={config}", f"--checkpoint={source}", "--run_dir=other"]
    told_in_one_line("import_checkpoint", *arguments, *settings(*sizes), cwd=checkpoints, has=words)
    assert not (checkpoints / "other").exists()
