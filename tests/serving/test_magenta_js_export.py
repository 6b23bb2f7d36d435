"""Models exported to magenta-js, read back by our importer, and refused ones."""

import json
import re
import shlex
from pathlib import Path

import magenta_js_models
import numpy as np
import pytest
from processes import run as run_program

from magenta_lite.checkpoints import magenta_js
from magenta_lite.checkpoints.readers import READERS
from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.serving.magenta_js import QUANTIZATIONS, export_magenta_js, quantized
from magenta_lite.training.run import Run, load_run

DOCUMENT = Path(__file__).parents[2] / "docs" / "export.md"


def imported(folder, run):
    """Returns the model that the importer makes of a folder."""
    reader = READERS[run.config.family]
    with magenta_js.open_checkpoint(folder, run.converter) as variables:
        config = reader.fitted_config(run.config, run.converter, variables)
        model = build_model(config, run.converter)
        reader.load_weights(model, variables)
    return model


def steps_of(folder):
    """Returns the largest scale of the quantized weights of a folder; 0 if none is quantized."""
    manifest = json.loads((folder / "weights_manifest.json").read_text())
    weights = [weight for group in manifest for weight in group["weights"]]
    return max(weight.get("quantization", {}).get("scale", 0) for weight in weights)


@pytest.mark.parametrize("name", magenta_js_models.MODELS)
def test_the_importer_reads_the_weights_back(name, tmp_path):
    run = magenta_js_models.random_run(name)
    quantize = list(QUANTIZATIONS)[len(name) % 3]  # each is used by some
    size = export_magenta_js(run, tmp_path / "js", quantize)
    shards = sorted((tmp_path / "js").glob("group1-shard*"))
    assert size == sum(shard.stat().st_size for shard in shards)
    model = imported(tmp_path / "js", run)
    ours, theirs = ({w.path: w.numpy() for w in m.weights} for m in (run.model, model))
    for path, value in ours.items():
        tolerance = 1e-6 + steps_of(tmp_path / "js") / 2
        np.testing.assert_allclose(theirs[path], value, rtol=1e-6, atol=tolerance, err_msg=path)


@pytest.mark.parametrize("dtype", [QUANTIZATIONS["uint16"], QUANTIZATIONS["uint8"]])
@pytest.mark.parametrize("low", [-1.0, -0.3, 0.0, 0.2])
def test_quantized_values_are_within_half_a_step(dtype, low):
    value = np.random.default_rng(0).uniform(low, 0.7, 1000).astype(np.float32)
    value[:2] = low, 0.0 if low < 0 else 0.5
    numbers, scale, minimum = quantized(value, dtype)
    assert numbers.dtype == dtype
    restored = numbers * scale + minimum
    assert np.abs(restored - value).max() <= scale * 0.501
    if low < 0:
        assert restored[1] == 0
    constant, scale, minimum = quantized(np.full(3, low, np.float32), dtype)
    assert (constant == 0).all() and scale == 1 and minimum == np.float32(low)


def test_weights_are_cut_into_shards(tmp_path, monkeypatch):
    run = magenta_js_models.random_run("one_drum")
    monkeypatch.setattr("magenta_lite.serving.magenta_js.SHARD", 100_000)
    assert export_magenta_js(run, tmp_path / "js") > 200_000
    names = sorted(path.name for path in (tmp_path / "js").glob("group*"))
    assert names == [f"group1-shard{i}of3" for i in (1, 2, 3)]
    weights = imported(tmp_path / "js", run).get_weights()
    np.testing.assert_allclose(weights[0], run.model.get_weights()[0], atol=1e-6)


def test_the_attention_length_of_the_folder_is_used(tmp_path):
    run = magenta_js_models.random_run("drum_kit_rnn")
    export_magenta_js(run, tmp_path / "js")
    file = tmp_path / "js" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attentionLength": 23}))
    assert imported(tmp_path / "js", run).sizes.attention_length == 23


def test_attention_without_a_bias_is_trained_and_saved(tmp_path):
    run = magenta_js_models.random_run("drum_kit_rnn")
    assert run.model.rnn[0].query_bias is None
    events = np.random.default_rng(0).integers(0, 512, (2, 24))
    before = run.model.rnn[0].query_kernel.numpy()
    run.model.compile(optimizer="sgd")
    run.model.fit({"events": events, "length": np.full(2, 24, np.int32)}, verbose=0)
    assert np.abs(run.model.rnn[0].query_kernel.numpy() - before).max() > 0
    again = load_run(run.save(tmp_path / "run").directory)
    for ours, theirs in zip(run.model.weights, again.model.weights, strict=True):
        np.testing.assert_array_equal(theirs.numpy(), ours.numpy())


def refusal(name, *overrides):
    config = get_config(name, overrides)
    converter = build_converter(config.converter)
    run = Run(config, converter, build_model(config, converter))
    with pytest.raises(UserError) as caught:
        export_magenta_js(run, None)  # refused before anything is written
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("hierdec-mel_16bar_tiny", ["model.encoder_levels=[16,16]", "model.encoder_units=[64]"]),
        ("flat-mel_16bar_tiny", ["model.encoder_units=[64]"]),
        ("flat-trio_16bar_tiny", ["model.decoder_per_part=true", "model.encoder_units=[64]"]),
        ("groovae_2bar_humanize_tiny", ["model.expression_units=0"]),
        (
            "drum_kit_rnn_tiny",
            [
                "model.attention_layout=all_layers",
                "model.units=[64,64,64]",
                "model.attention_bias=false",
            ],
        ),
        (
            "attention_rnn_tiny",
            [
                "model.encoding=one_hot",
                "model.attention_layout=all_layers",
                "model.units=[64,64,64]",
                "model.attention_bias=false",
            ],
        ),
        ("lookback_rnn_tiny", ["model.encoding=one_hot"]),
    ],
)
def test_refused_with_the_nearest_settings_which_are_accepted(name, settings, tmp_path):
    message = refusal(name)
    assert "\n" not in message
    assert message.endswith(" ".join(f"--set {setting}" for setting in settings))
    config = get_config(name, tuple(settings))
    converter = build_converter(config.converter)
    export_magenta_js(Run(config, converter, build_model(config, converter)), tmp_path / "js")


def test_settings_that_only_some_have_are_refused():
    assert "model.decoder_units=[64,64]" in refusal(
        "cat-mel_2bar_tiny", "model.decoder_units=[32,64]"
    )
    assert "converter.end_token=false" in refusal("cat-mel_2bar_tiny", "converter.end_token=true")
    assert "fixed_velocities=true" in refusal(
        "groovae_2bar_humanize_tiny", "model.expression_units=0", "model.tapify=true"
    )
    assert "basic_rnn" in refusal("performance_tiny")
    assert "MusicVAE" in refusal("music_transformer_tiny")


def test_a_trained_bias_of_attention_is_refused():
    run = magenta_js_models.random_run("drum_kit_rnn")
    settings = ("model.attention_layout=all_layers", "model.units=[64,64,64]")
    config = get_config("drum_kit_rnn_tiny", settings)
    model = build_model(config, run.converter)
    model.rnn[0].query_bias.assign(np.full(64, 0.1, np.float32))
    with pytest.raises(UserError, match=r"model\.attention_bias=false"):
        export_magenta_js(Run(config, run.converter, model), None)


def commands_of(file):
    """Returns the words of each command of a document, without `python -m`."""
    blocks = re.findall(r"```bash\n(.*?)```", file.read_text("utf-8"), flags=re.DOTALL)
    return [shlex.split(line)[2:] for block in blocks for line in block.splitlines()]


def test_the_commands_of_the_document_write_and_read_folders(tmp_path):
    run = magenta_js_models.random_run("melody").save(tmp_path / "runs" / "cat-mel_2bar_tiny")
    library = tmp_path / "node_modules" / "@magenta" / "music" / "dist" / "magentamusic.js"
    library.parent.mkdir(parents=True)
    library.write_text("/* MusicVAE, MusicRNN */ '</script></SCRIPT>'")
    commands = commands_of(DOCUMENT)
    assert len(commands) == 5
    for words in commands:
        code, out, error = run_program(*words, cwd=tmp_path)
        assert code == 0, error
        assert "Wrote" in out
    again = load_run(tmp_path / "runs" / "imported")
    for ours, theirs in zip(run.model.weights, again.model.weights, strict=True):
        np.testing.assert_allclose(theirs.numpy(), ours.numpy(), atol=1e-6)

    melodies, page = (tmp_path / "exported" / name for name in ("melodies", "page"))
    inside = (page / "index.html").read_text("utf-8")
    assert "/* MusicVAE, MusicRNN */ '<\\/script><\\/SCRIPT>'" in inside and "{{" not in inside
    assert '<script src="magentamusic.js">' in (melodies / "index.html").read_text("utf-8")
    small, large = (folder / "group1-shard1of1" for folder in (page, melodies))
    assert 4 * small.stat().st_size == large.stat().st_size


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--xla"], "--xla means nothing to --format=magenta_js; it is a flag of --format=saved"),
        (["--magenta_music=x.js"], "--magenta_music=x.js cannot be read"),
    ],
)
def test_wrong_flags_are_told(flags, words, tmp_path):
    magenta_js_models.random_run("one_drum").save(tmp_path / "run")
    given = ["--run_dir=run", "--output=js", "--format=magenta_js", *flags]
    code, _, error = run_program("magenta_lite.export", *given, cwd=tmp_path)
    assert (code, error.count("\n")) == (2, 1)
    assert words in error
    assert not (tmp_path / "js").exists()


def test_large_weights_stay_beside_the_page(tmp_path, monkeypatch):
    run = magenta_js_models.random_run("one_drum")
    monkeypatch.setattr("magenta_lite.serving.magenta_js_page.MAX_INSIDE", 100_000)
    export_magenta_js(run, tmp_path / "js")
    assert '"files"' not in (tmp_path / "js" / "index.html").read_text("utf-8")
    with pytest.raises(UserError, match=r"is not magentamusic\.js"):
        export_magenta_js(run, tmp_path / "other", library=tmp_path / "js" / "config.json")
    assert not (tmp_path / "other").exists()
