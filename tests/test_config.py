"""Configs: names, overrides, files."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from magenta_lite.api import build_model
from magenta_lite.config import config_names, fine_tuned, get_config, load_config, save_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.families.music_vae.options import MusicVAEOptions

ROOT = Path(__file__).parents[1]


def test_the_names_people_know_are_there():
    assert {
        "cat-mel_2bar",
        "cat-mel_2bar_small",
        "cat-mel_2bar_big",
        "cat-mel_2bar_tiny",
    } <= set(config_names())


def test_values_are_those_of_the_original():
    small, big = get_config("cat-mel_2bar"), get_config("cat-mel_2bar_big")
    assert small.model == get_config("cat-mel_2bar_small").model
    assert (small.model.latent_size, small.model.encoder_units) == (256, (512,))
    assert (big.model.latent_size, big.model.decoder_units) == (512, (2048,) * 3)
    assert (small.objective.max_beta, big.objective.max_beta) == (0.2, 0.5)
    assert small.train.batch_size == 512
    assert small.data.transpose == (-5, 5)


def test_programs_fit_the_music_that_a_configuration_trains_on():
    def chosen(name, *arguments):
        code = (
            "from absl import flags; from magenta_lite import cli, train;"
            "flags.FLAGS(__import__('sys').argv); print(cli.chosen_config().generate.programs)"
        )
        command = [sys.executable, "-c", code, f"--config={name}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert chosen("attention_rnn") == "(40,)"  # fiddle tunes
    assert chosen("attention_rnn", "--data=songs") == "()"
    assert chosen("attention_rnn", "--data=songs", "--set=generate.programs=[73]") == "(73,)"


def test_nothing_is_an_empty_text():
    config = get_config("attention_improv", ["converter.chords="])
    assert config.converter.chords == ""
    with pytest.raises(UserError, match=r"train\.steps"):
        get_config("attention_improv", ["train.steps="])


def test_overrides_keep_types():
    config = get_config(
        "cat-mel_2bar",
        [
            "train.steps=7",
            "train.learning_rate=3e-3",
            "converter.programs=null",
            "model.encoder_units=[8,9]",
            "data.transpose=[-2,3]",
            "converter.pad_edges=true",
        ],
    )
    assert config.train.steps == 7
    assert config.train.learning_rate == 0.003
    assert config.converter.programs is None
    assert config.model.encoder_units == (8, 9)
    assert config.data.transpose == (-2, 3)
    assert config.converter.pad_edges is True
    assert get_config("cat-mel_2bar").train.steps == 200_000


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.step=5", "train.steps"),
        ("trian.steps=5", "train"),
        ("train.steps=many", "train.steps"),
        ("steps=5", "section.key=value"),
        ("train.steps", "section.key=value"),
        ("train.steps=0", "at least 1"),
        ("train.precision=float16", "float32"),
        ("model.encoder_units=[]", "at least one layer"),
        ("data.transpose=[5,-5]", "[lowest, highest]"),
        ("data.group_by=composer", "content, folder"),
        ("objective.sampling_schedule=linear", "inverse_sigmoid"),
        ("objective.sampling_rate=0", "sampling_rate"),
        ("converter.max_pitch=300", "0 to 127"),
    ],
)
def test_wrong_overrides_are_told_in_one_line(override, words):
    with pytest.raises(UserError) as error:
        get_config("cat-mel_2bar", [override])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"Did you mean .*cat-mel_2bar"):
        get_config("cat-mel2bar")


@pytest.mark.parametrize("name", ["cat-mel_2bar", "cat-mel_2bar_big", "cat-mel_2bar_tiny"])
def test_a_saved_config_is_read_back_as_it_was(name, tmp_path):
    config = get_config(name, ["converter.programs=null"])
    odd = dataclasses.replace(config.data, source="~/odd: name #1")
    config = dataclasses.replace(config, data=odd)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("text", ["", "[1, 2]", "name: x", "{", "converter: {kind: nothing}"])
def test_a_damaged_config_file_is_a_user_error(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml|kind of section"):
        load_config(path)


def test_a_file_of_your_own_registers_configs(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses\n"
        "from magenta_lite.config import get_config, register\n"
        "@register('my-mel')\n"
        "def my_mel():\n"
        "    base = get_config('cat-mel_2bar_tiny')\n"
        "    return dataclasses.replace(base, train=dataclasses.replace(base.train, steps=3))\n"
    )
    config = get_config(f"{path}:my-mel", ["train.seed=4"])
    assert (config.train.steps, config.train.seed) == (3, 4)
    with pytest.raises(UserError, match="no config file"):
        get_config(f"{tmp_path}/none.py:my-mel")


def test_configs_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_config("cat-mel_2bar").train.steps = 5


def test_configs_and_converters_load_without_tensorflow_in_a_second_of_cpu_time():
    code = (
        "import sys, time\n"
        "began = time.process_time()\n"
        "import magenta_lite, magenta_lite.cli, magenta_lite.converters.melody\n"
        "from magenta_lite.config import get_config\n"
        "get_config('cat-mel_2bar', ['train.steps=5'])\n"
        "heavy = {'tensorflow', 'keras', 'note_seq', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(time.process_time() - began)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.0


def test_the_section_generate_gives_the_rules_of_a_model_and_defaults_of_options():
    limits = ["generate.max_silence=1.5", "generate.max_hung_note=2"]
    config = get_config("music_transformer_tiny", limits)
    assert build_model(config).rules.max_silence == 150  # steps of 10 ms
    assert MusicTransformerOptions.of(config.generate).max_hung_note == 2
    assert MusicTransformerOptions.of(config.generate, max_hung_note=0.5).max_hung_note == 0.5
    rules = build_model(get_config("musenet_tiny", ["generate.max_note=3"])).rules
    assert (rules.max_note, rules.max_silence) == (300, 400)
    with pytest.raises(UserError, match="max_silence"):
        build_model(get_config("musenet_tiny", ["generate.max_silence=0"]))
    groove = get_config("groovae_4bar", ["generate.inference_pitch_map=roland"])
    assert MusicVAEOptions.of(groove.generate).inference_pitch_map == "roland"


def test_tokens_without_note_offs_have_no_hanging_notes_to_end():
    chorales, pianos = (
        build_converter(get_config(name).converter)
        for name in ("music_transformer_jsb", "music_transformer")
    )
    assert "max_hung_note" in MusicTransformerOptions.names(pianos)
    assert "max_hung_note" not in MusicTransformerOptions.names(chorales)


def test_a_run_that_starts_from_another_one_keeps_its_vocabulary():
    ours = get_config("music_transformer_tiny")
    former = get_config("music_transformer_tiny", original=True)
    assert fine_tuned(ours, former, 300).converter.infill == 0
    given = get_config("music_transformer_tiny", ["converter.infill=0.25"])
    assert fine_tuned(given, former, 300, {"converter.infill"}).converter.infill == 0.25
    assert fine_tuned(former, given, 300).converter.infill == 0.25
