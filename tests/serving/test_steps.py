"""Models exported for LiteRT and ONNX, run with their samplers, compared with ours."""

import json
import subprocess
import sys
from unittest import mock

import magenta_js_models
import numpy as np
import pytest
import tensorflow as tf
from steps_recorded import Recorded, check, exported, functions_of

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.melody_rnn import decoding
from magenta_lite.graphs import graph_function, without_xla
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.serving import steps
from magenta_lite.training.run import Run

VAES = {
    "melody": 2,  # pieces, so that they are 64 steps
    "chords": 1,
    "trio": 1,
    "tracks": 1,
    "nade": 1,
    "hits": 1,
    "groovae_2bar_humanize_tiny": 1,
}
RNNS = ("basic_rnn", "attention_rnn_tiny", "basic_improv", "performance_tiny")
PRIMER = 5  # events
STEPS = 65


def vae_case(run, piece):
    """Returns arguments of the sampler, our events, and the logits that our network gives."""
    model, rng = run.model, np.random.default_rng(piece)
    z = rng.normal(0, 1, (1, model.sizes.latent_size)).astype(np.float32)
    uniforms = rng.random((model.length, model.decoder.uniforms), np.float32)
    control, controls = None, None
    if model.events_format.control == "chords":
        control = rng.integers(0, 49, model.length)
    if model.events_format.control == "hits":
        control = (rng.random((model.length, model.events_format.sizes[0])) < 0.3).astype("f4")
    with without_xla():
        if control is not None:
            controls = model.repeated(tf.constant(control), 1)
        sampler, drawn = Sampler(1.0).tensors(), tf.constant(uniforms[:, None])
        decode = graph_function(lambda: model._decode(z, drawn, sampler, controls))
        events = decode().numpy()[0]
        fed = tf.constant(events)
        if model.events_format.end_id is not None:
            fed = tf.constant(after_end(events, model.events_format, model.decoder.segment_steps))
        logits = model.decoder(fed[:, None], tf.constant(z), controls)[:, 0].numpy()
    given = {"z": z, "uniforms": uniforms}
    return given | ({} if control is None else {"control": control}), events, logits


def after_end(events, format, steps_of_segment):
    """Returns events with -1 after the end of each segment, as the decoder reads them."""
    segments = events.reshape(-1, steps_of_segment)
    ended = np.cumsum(segments == format.end_id, axis=1) - (segments == format.end_id) > 0
    return np.where(ended, -1, segments).reshape(-1).astype(np.int32)


def rnn_case(run):
    model, rng = run.model, np.random.default_rng(0)
    uniforms = rng.random((STEPS, 1), np.float32)
    primer = rng.integers(0, model.encoding.num_ids, PRIMER)
    given, chords = {"uniforms": uniforms, "primer": primer, "steps": STEPS}, None
    batch = {"length": tf.constant([STEPS])}
    if model.encoding.chords:
        chords = tf.constant(rng.integers(0, 12, STEPS), tf.int32)
        given["control"], batch["controls"] = chords.numpy()[1:], chords[None]
    with without_xla():
        drawn = tf.constant(uniforms[PRIMER - 1 : -1])
        of_piece = tf.constant(primer, tf.int32), STEPS - PRIMER, tf.zeros([1, 2], tf.int32)
        with mock.patch.object(decoding, "step_uniforms", lambda *_: drawn):
            run_graph = graph_function(
                lambda: decoding.sample(model, *of_piece, Sampler(1.0), chords)[0]
            )
            events = run_graph().numpy()[0]
        logits = model({"events": tf.constant(events[None]), **batch})[0].numpy()
    return given, events, logits


@pytest.mark.parametrize("name", VAES)
def test_music_vae_gives_the_same_music_and_logits(name, tmp_path):
    run = magenta_js_models.random_run(name)
    folders = exported(tmp_path, run)
    for piece in range(VAES[name]):
        given, events, logits = vae_case(run, piece)
        assert len(np.unique(events)) > 1
        for folder in folders:
            count = run.model.decoder.cores[0].head.parameter_size
            of_hits = logits[:, :count] if run.model.decoder.expression else logits
            check(folder, given, events, of_hits)


@pytest.mark.parametrize("name", RNNS)
def test_melody_rnn_gives_the_same_music_and_logits(name, tmp_path):
    run = magenta_js_models.random_run(name)
    given, events, logits = rnn_case(run)
    if (events < 0).any():  # the length is in steps of time
        events = events[events >= 0]
        given["steps"] = len(events)
    assert len(np.unique(events)) > 4
    for folder in exported(tmp_path, run):
        check(folder, given, events, logits[: len(events) - 1])


def test_music_vae_encodes(tmp_path):
    run = magenta_js_models.random_run("melody")
    _, events, _ = vae_case(run, 0)
    posterior = run.model.encode(events[None], tf.constant([len(events)]))
    for folder in exported(tmp_path, run, encode=True):
        found = Recorded(folder).module.load("encode")({"events": events})
        np.testing.assert_allclose(found["mu"], posterior.mean(), atol=1e-4)
        np.testing.assert_allclose(found["sigma"], posterior.stddev(), atol=1e-4)
        with pytest.raises(ValueError, match="steps=33 must be at most 32"):
            Recorded(folder)(steps=33)


def test_the_folder_describes_itself(tmp_path):
    run = magenta_js_models.random_run("basic_rnn")
    for folder, suffix in zip(exported(tmp_path, run), (".tflite", ".onnx"), strict=True):
        names = sorted(path.name for path in folder.iterdir())
        assert names == sorted(
            ["config.yaml", "converter.json", "model.json", *SAMPLERS, f"step{suffix}"]
        )
        assert json.loads((folder / "converter.json").read_text())["kind"] == "event_melody"
        command = [sys.executable, folder / "sample.py", "--seed=3", "--steps=9"]
        first = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert len(first) == 9 and first == Recorded(folder)(seed=3, steps=9).tolist()


SAMPLERS = sorted(path.name for path in steps.SAMPLERS.glob("sample.*"))


def test_samplers_have_at_most_80_lines():
    assert SAMPLERS == ["sample.mjs", "sample.py"]
    for name in SAMPLERS:
        assert len((steps.SAMPLERS / name).read_text("utf-8").splitlines()) <= 80


def test_what_cannot_be_exported_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    run = magenta_js_models.random_run("basic_rnn")
    with pytest.raises(UserError, match=r"--quantize=uint16 means nothing to --format=onnx; give"):
        steps.export_steps(run, tmp_path / "out", "onnx", "uint16")
    monkeypatch.setattr(steps, "LARGEST", 1000)
    with pytest.raises(UserError, match=r"has 0\.0 GB of weights, and a file holds at most"):
        steps.export_steps(run, tmp_path / "out", "onnx")
    monkeypatch.setattr(type(run.model), "step_functions", lambda _: None)
    with pytest.raises(
        UserError, match=r"for basic_rnn_tiny, a melody_rnn; export it with --format=sav"
    ):
        steps.export_steps(run, tmp_path / "out", "litert")
    monkeypatch.undo()

    for error, told in (
        (RuntimeError("a defect"), pytest.raises(RuntimeError, match="a defect")),
        (
            NotImplementedError("Roll has no translation to ONNX"),
            pytest.raises(UserError, match="Roll has no translation to ONNX; export it with --for"),
        ),
    ):
        fail = mock.Mock(side_effect=error)
        runtimes = {"onnx": steps.RUNTIMES["onnx"]._replace(write=fail)}
        monkeypatch.setattr(steps, "RUNTIMES", runtimes)
        with told:
            steps.export_steps(run, tmp_path / "out", "onnx")
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other").touch()
    with pytest.raises(UserError, match="exists already"):
        steps.export_steps(run, tmp_path / "out", "onnx")


@pytest.mark.parametrize("name", ["vqvae_tiny", "rvqvae_tiny"])
def test_a_vqvae_encodes_and_decodes(name, tmp_path):
    config = get_config(name, ("converter.crop=2048",))
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    run, rng = Run(config, converter, model), np.random.default_rng(0)
    for weight in model.trainable_weights:
        if len(weight.shape) == 3:
            weight.assign(rng.normal(0, 1.5 / np.sqrt(np.prod(weight.shape[:2])), weight.shape))
    audio = rng.uniform(-0.5, 0.5, (1, 2048, 1)).astype(np.float32)
    codes = [level.numpy() for level in model.encode(tf.constant(audio))]
    sounds = [model.decode(tf.constant(level), i).numpy() for i, level in enumerate(codes)]
    for folder in exported(tmp_path, run, encode=True):
        assert not (folder / "sample.py").exists()
        calls = functions_of(folder)
        found = calls["encode"](audio=audio)
        for i, (level, sound) in enumerate(zip(codes, sounds, strict=True)):
            assert len(np.unique(level)) > 4
            assert np.mean(found[f"codes_{i}"] == level) > 0.99  # ties of distances
            decoded = calls[f"decode_{i}"](codes=level)["audio"]
            np.testing.assert_allclose(decoded, sound, atol=1e-4)
