"""Models exported for LiteRT and ONNX, sampled in headless Chromium by their JavaScript samplers.

Events and logits are compared with those of their Python samplers, which other tests compare with
the models.
"""

import json
import shutil
from pathlib import Path

import magenta_js_models
import numpy as np
import pytest
import step_models
from browser import CHROMIUM, node_package, result_of
from steps_recorded import Recorded, exported

PAGE = Path(__file__).with_name("steps_page.html")
# A file of each package.
PACKAGES = (
    "onnxruntime-web/dist/ort.wasm.min.mjs",
    "@litertjs/core/dist/index.js",
    "@litertjs/wasm-utils/dist/bundle.js",
)
RUNS = {
    "melody": magenta_js_models.random_run,
    "groovae_2bar_humanize_tiny": magenta_js_models.random_run,
    "attention_rnn_tiny": magenta_js_models.random_run,
    "performance": step_models.random_transformer,
    "musenet": step_models.random_transformer,
}


def missing():
    """Returns what these tests need and do not find."""
    packages = [file.split("/dist")[0] for file in PACKAGES if not node_package(file)]
    return packages if CHROMIUM else ["Chromium", *packages]


def options_of(run):
    """Returns arguments of both samplers."""
    step, rng = run.model.step_functions().step, np.random.default_rng(1)
    steps = min(step.steps, 64)
    given = {"steps": steps, "uniforms": rng.random((steps, step.uniforms), np.float32)}
    if run.config.family == "music_vae":
        given["z"] = rng.normal(0, 1, run.model.sizes.latent_size).astype(np.float32)
    if "control" in step.inputs:
        given["control"] = rng.integers(0, 12, steps)
    return given


@pytest.mark.slow
@pytest.mark.skipif(
    bool(missing()),
    reason=f"needs {', '.join(missing())}, packages of npm in a folder of NODE_PATH",
)
def test_the_samplers_in_javascript_give_what_those_in_python_give(tmp_path):
    for file in PACKAGES:
        package = file.split("/dist")[0]
        (tmp_path / package).parent.mkdir(exist_ok=True)
        (tmp_path / package).symlink_to(node_package(file).parents[1])
    shutil.copy(PAGE, tmp_path)
    cases, expected = [], {}
    for name, random_run in RUNS.items():
        run = random_run(name)
        given = options_of(run)
        values = {key: np.array(value).tolist() for key, value in given.items()}
        (tmp_path / name).mkdir()
        for folder in exported(tmp_path / name, run):
            sampler = Recorded(folder)
            place = str(folder.relative_to(tmp_path))
            expected[place] = sampler(**given), np.array(sampler.logits)
            cases.append({"folder": place, "runtime": folder.name.split("_")[0], "options": values})
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    found = result_of(tmp_path, PAGE.name, timeout=240)

    problems = {}
    for folder, (events, logits) in expected.items():
        try:
            check(found[folder], events, logits)
        except AssertionError as error:
            problems[folder] = str(error)[:600]
    assert not problems, "\n".join(f"{name}: {error}" for name, error in problems.items())


def check(found, events, logits):
    assert "error" not in found, found["error"]
    if events.dtype.kind == "f":
        np.testing.assert_allclose(found["events"], events, atol=1e-4)
    else:
        np.testing.assert_array_equal(found["events"], events)
    possible = logits > -1e30
    np.testing.assert_allclose(np.array(found["logits"])[possible], logits[possible], atol=1e-4)
    # With random numbers of its own.
    assert np.array(found["own"]).shape[1:] == events.shape[1:] and found["own"] != found["events"]
