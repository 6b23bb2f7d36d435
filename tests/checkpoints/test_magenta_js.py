"""Folders of magenta-js, written here in the format's every form, and damaged ones."""

import json
import types
from pathlib import Path

import numpy as np
import pytest

from magenta_lite.checkpoints import magenta_js
from magenta_lite.converters.base import EventFormat
from magenta_lite.converters.melody import MelodyConverter, MelodyConverterConfig
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "music_vae" / "tiny-cat-mel_2bar_small"

MELODY = {
    "type": "MusicVAE",
    "dataConverter": {
        "type": "MelodyConverter",
        "args": {"numSteps": 32, "minPitch": 21, "maxPitch": 108},
    },
}
RNG = np.random.default_rng(0)
VALUES = {
    "encoder/mu/kernel": RNG.normal(size=(6, 4)).astype(np.float32),
    "encoder/mu/bias": RNG.normal(size=4).astype(np.float32),
    "decoder/z_to_initial_state/kernel": RNG.normal(size=(4, 10)).astype(np.float32),
    "global_step": np.array(1205, np.int32),
    "decoder/opaque_kernel": np.zeros(7, np.float32),
}


def quantize(value, dtype):
    """Returns the entry's `quantization`, the stored numbers, and what they stand for."""
    if dtype == "float16":
        return {"dtype": dtype}, value.astype("<f2"), value.astype("<f2").astype(np.float32)
    levels = 2 ** (8 * np.dtype(dtype).itemsize) - 1
    low = float(value.min())
    scale = float(value.max() - low) / levels or 1.0
    stored = np.round((value - low) / scale).astype(np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "scale": scale, "min": low}, stored, stored * scale + low


def write_folder(folder, values=VALUES, quantization=None, groups=1, shard=None, config=MELODY):
    """Writes a folder; returns what must be read from it.

    Args:
        folder: Where.
        values: Variables by name.
        quantization: Type in which floats are stored; None: as they are.
        groups: In how many groups the variables fall.
        shard: Bytes of a shard; None: one shard a group.
        config: Tree of config.json.
    """
    folder.mkdir(exist_ok=True)
    manifest, expected = [], {}
    for part, names in enumerate(np.array_split(list(values), groups)):
        weights, data = [], b""
        for name in names:
            value = values[name]
            entry = {"name": str(name), "shape": list(value.shape), "dtype": str(value.dtype)}
            if quantization and value.dtype == np.float32:
                entry["quantization"], stored, expected[name] = quantize(value, quantization)
            else:
                stored, expected[name] = value.astype(value.dtype.newbyteorder("<")), value
            weights.append(entry)
            data += stored.tobytes()
        size = shard or len(data)
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        paths = [f"group{part + 1}-shard{i + 1}of{len(pieces)}" for i in range(len(pieces))]
        for path, piece in zip(paths, pieces, strict=True):
            (folder / path).write_bytes(piece)
        manifest.append({"paths": paths, "weights": weights})
    (folder / "weights_manifest.json").write_text(json.dumps(manifest))
    (folder / "config.json").write_text(json.dumps(config))
    return expected


def edit(folder, change, file="weights_manifest.json"):
    """Applies `change` to a JSON file of the folder."""
    tree = json.loads((folder / file).read_text())
    change(tree)
    (folder / file).write_text(json.dumps(tree))


def fake_converter(kind, events):
    """Returns what the check of a converter looks at in a converter."""
    config = types.SimpleNamespace(kind=kind)
    return types.SimpleNamespace(config=config, event_format=EventFormat(events, (9,)))


def error_of(path, converter=None):
    """Returns the one line that a user gets to read."""
    with pytest.raises(UserError) as caught, magenta_js.open_checkpoint(path, converter):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("quantization", [None, "uint8", "uint16", "float16"])
@pytest.mark.parametrize(("groups", "shard"), [(1, None), (1, 50), (3, None), (2, 33)])
def test_every_form_of_storage_is_read_back(tmp_path, quantization, groups, shard):
    expected = write_folder(tmp_path / "js", VALUES, quantization, groups, shard)
    with magenta_js.open_checkpoint(tmp_path / "js") as variables:
        # cuDNN's copy of weights is not a variable of its own.
        assert set(variables) == set(VALUES) - {"decoder/opaque_kernel"}
        for name in variables:
            value = variables[name]
            assert value.dtype == np.float32
            assert value.shape == VALUES[name].shape
            np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-6)
            tolerance = {None: 0, "uint8": 0.02, "uint16": 1e-4, "float16": 2e-3}[quantization]
            np.testing.assert_allclose(value, VALUES[name], atol=tolerance + 1e-6)
        assert variables.global_step == 1205


def test_reading_keeps_account_of_what_was_used(tmp_path):
    write_folder(tmp_path)
    with magenta_js.open_checkpoint(tmp_path / "weights_manifest.json") as variables:
        variables["encoder/mu/kernel"]
        with pytest.raises(UserError, match="belongs to another"):
            variables["decoder/hierarchical_level_0/initial_state/kernel"]
        with pytest.raises(UserError, match="2 variables that this configuration has no place for"):
            variables.check_all_used()
        variables["encoder/mu/bias"], variables["decoder/z_to_initial_state/kernel"]
        variables.check_all_used()


def test_a_folder_without_steps_has_step_0(tmp_path):
    write_folder(tmp_path, {"encoder/mu/kernel": VALUES["encoder/mu/kernel"]})
    with magenta_js.open_checkpoint(tmp_path) as variables:
        assert variables.global_step == 0


def test_a_shard_of_the_wrong_length_is_told_with_both_lengths(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "group1-shard1of1"
    data = path.read_bytes()
    for wrong in (data[:-3], data + b"more", b""):
        path.write_bytes(wrong)
        message = error_of(tmp_path)
        assert str(tmp_path) in message and path.name in message
        assert f"{len(data):,} bytes" in message
        assert f"has {len(wrong):,}" in message


def test_a_missing_shard_is_named(tmp_path):
    write_folder(tmp_path, shard=60)
    second = sorted(tmp_path.glob("group1-shard2of*"))[0]
    second.unlink()
    assert f"{second} is missing" in error_of(tmp_path)


def test_damaged_json_is_told(tmp_path):
    write_folder(tmp_path)
    manifest = tmp_path / "weights_manifest.json"
    for content in (b"", b"[{", b"\xff\xfe"):
        manifest.write_bytes(content)
        assert f"{manifest} is not JSON" in error_of(tmp_path)
    manifest.write_text("{}")
    assert "not a list of groups" in error_of(tmp_path)
    manifest.unlink()
    assert "not a magenta-js folder" in error_of(tmp_path)


ENTRY = {"name": "a", "shape": [2], "dtype": "float32"}


@pytest.mark.parametrize(
    "group",
    [
        1,
        {"paths": []},
        {"weights": [ENTRY]},
        {"paths": [], "weights": [{"name": "a", "dtype": "float32"}]},
        {"paths": [], "weights": [ENTRY | {"shape": ["x"]}]},
        {"paths": [], "weights": [ENTRY | {"shape": 3}]},
        {"paths": [], "weights": [ENTRY | {"quantization": 8}]},
        {"paths": [], "weights": [ENTRY | {"quantization": {"dtype": "uint8", "scale": 1}}]},
        {
            "paths": [],
            "weights": [ENTRY | {"quantization": {"dtype": "uint8", "scale": "x", "min": 0}}],
        },
    ],
)
def test_a_group_that_is_none_is_told(tmp_path, group):
    write_folder(tmp_path)
    edit(tmp_path, lambda groups: groups.append(group))
    assert "group without paths and weights" in error_of(tmp_path)


def test_an_unknown_type_is_told_with_the_known_ones(tmp_path):
    write_folder(tmp_path, quantization="uint8")
    edit(tmp_path, lambda groups: groups[0]["weights"][1].update(dtype="complex64"))
    message = error_of(tmp_path)
    assert "encoder/mu/bias has dtype complex64" in message
    assert "uint8" in message
    write_folder(tmp_path, quantization="uint8")
    edit(tmp_path, lambda groups: groups[0]["weights"][0]["quantization"].update(dtype="uint32"))
    assert "encoder/mu/kernel has dtype uint32" in error_of(tmp_path)


# Converters and configurations -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("converter", "steps", "some", "count"),
    [
        ("MelodyConverter", 32, "cat-mel_2bar_big", 3),
        ("MelodyConverter", 256, "hierdec-mel_16bar", 3),
        ("MelodyConverter", 64, "cat-mel_2bar_big", 6),  # none of ours has 4 bars
        ("MelodyConverter", None, "cat-mel_2bar_big", 6),
        ("DrumsConverter", 32, "cat-drums_2bar_small", 2),
        ("DrumRollConverter", 32, "nade-drums_2bar_full", 2),
        ("TrioConverter", 256, "hierdec-trio_16bar", 3),
        ("MultitrackConverter", 512, "hier-multiperf_vel_1bar_med", 4),
        ("GrooveConverter", 64, "groovae_4bar", 1),
        ("GrooveConverter", 32, "groovae_2bar_humanize", 5),
    ],
)
def test_the_converter_says_which_configurations_fit(tmp_path, converter, steps, some, count):
    config = {"type": "MusicVAE", "dataConverter": {"type": converter}}
    if steps:
        config["dataConverter"]["args"] = {"numSteps": steps}
    write_folder(tmp_path, config=config)
    names = magenta_js.config_names(tmp_path)
    assert some in names
    assert len(names) == count


def test_the_converter_of_a_music_rnn_says_which_configurations_fit(tmp_path):
    drums = {"type": "MusicRNN", "dataConverter": {"type": "DrumsOneHotConverter", "args": {}}}
    write_folder(tmp_path, config=drums)
    assert magenta_js.config_names(tmp_path) == ("drum_kit_rnn", "one_drum")
    message = error_of(tmp_path, fake_converter("event_melody", "categorical"))
    assert message.endswith("choose --config among drum_kit_rnn, one_drum")


def test_every_configuration_of_the_original_has_a_converter():
    names = [name for known in magenta_js.CONVERTERS.values() for name in known.configs]
    assert len(names) == len(set(names)) == 23


def test_a_configuration_of_another_converter_is_refused_with_those_that_fit(tmp_path):
    write_folder(tmp_path)
    melody = MelodyConverter(MelodyConverterConfig(bars=2))
    magenta_js.check_config(tmp_path, melody)
    drums = {"type": "MusicVAE", "dataConverter": {"type": "DrumsConverter"}}
    write_folder(tmp_path, config=drums)
    message = error_of(tmp_path, melody)
    assert "DrumsConverter" in message
    assert "cat-drums_2bar_small" in message
    assert str(tmp_path / "config.json") in message
    assert "DrumsConverter" in error_of(tmp_path, fake_converter("drums", "roll"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "names no dataConverter"),
        ([], "names no dataConverter"),
        ({"dataConverter": "MelodyConverter"}, "names no dataConverter"),
        ({"dataConverter": {"type": "ChordConverter"}}, "known are MelodyConverter"),
        ({**MELODY, "type": "Coconet"}, "is of a Coconet, not of a MusicVAE or a MusicRNN"),
        ({**MELODY, "type": "MusicRNN"}, "not what this configuration encodes"),
        ({**MELODY, "type": []}, "is of a list"),
    ],
)
def test_a_config_that_is_of_no_such_model_is_told(tmp_path, config, words):
    write_folder(tmp_path, config=config)
    assert words in error_of(tmp_path, fake_converter("melody", "categorical"))


def test_a_missing_config_is_told(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "config.json is missing" in error_of(tmp_path, fake_converter("melody", "categorical"))


# Sigma -----------------------------------------------------------------------------------------


def test_a_missing_sigma_becomes_a_small_constant_one_and_is_told(tmp_path, capsys):
    write_folder(tmp_path)
    with magenta_js.open_checkpoint(tmp_path) as variables:
        assert "encoder/sigma/kernel" not in variables
    with magenta_js.open_checkpoint(tmp_path, fake_converter("melody", "categorical")) as variables:
        kernel, bias = (variables[name] for name in magenta_js.SIGMA)
    assert kernel.shape == (6, 4)
    assert not kernel.any()
    np.testing.assert_allclose(np.log1p(np.exp(bias)), np.full(4, 0.1), rtol=1e-5)
    said = capsys.readouterr().out
    assert "no encoder/sigma" in said
    assert "0.1 everywhere" in said


def test_a_sigma_of_its_own_stays(tmp_path, capsys):
    own = {name: np.ones(4, np.float32) for name in magenta_js.SIGMA}
    write_folder(tmp_path, VALUES | own)
    with magenta_js.open_checkpoint(tmp_path, fake_converter("melody", "categorical")) as variables:
        assert variables.fill_in_sigma() == ""
        assert variables["encoder/sigma/kernel"].tolist() == [1, 1, 1, 1]
    assert capsys.readouterr().out == ""


def test_a_folder_is_told_from_other_checkpoints(tmp_path):
    assert not magenta_js.is_folder(tmp_path)
    write_folder(tmp_path)
    assert magenta_js.is_folder(tmp_path)
    assert magenta_js.is_folder(str(tmp_path / "weights_manifest.json"))


def test_a_folder_fills_a_model_as_the_same_checkpoint_of_tensorflow_does(tmp_path):
    from magenta_lite.checkpoints import music_vae, tf1
    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.families.building import build_model

    sizes = ("model.latent_size=16", "model.encoder_units=[20]", "model.decoder_units=[24,28]")
    config = get_config("cat-mel_2bar_tiny", sizes)
    converter = build_converter(config.converter)

    def weights(variables):
        model = build_model(config, converter)
        music_vae.load_weights(model, variables)
        return model.get_weights()

    with tf1.open_checkpoint(GOLDEN / "trained.ckpt") as variables:
        expected = weights(variables)
        values = {name: np.asarray(variables[name]) for name in variables}
    write_folder(tmp_path, {n: v for n, v in values.items() if v.dtype == np.float32}, groups=3)
    with magenta_js.open_checkpoint(tmp_path, converter) as variables:
        actual = weights(variables)
    assert all(np.array_equal(a, b) for a, b in zip(actual, expected, strict=True))
