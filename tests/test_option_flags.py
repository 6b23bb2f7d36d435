"""The flags of `generate` are the options of the families."""

from __future__ import annotations

import pytest
import tensorflow as tf
from processes import run

from magenta_lite.api import as_run, build_model
from magenta_lite.config import GenerateConfig, get_config, save_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families import FAMILIES
from magenta_lite.modeling import limits
from magenta_lite.modeling.options import options_of

# A model of each family, options that it has, and options that it has not.
MODELS = {
    "cat-mel_2bar_tiny": (("bars", "prior", "window"), ("style", "num_steps", "upsamplers")),
    "attention_rnn_tiny": (("primer_bars", "beam_size"), ("backing_chords", "style", "bars")),
    "attention_improv_tiny": (("backing_chords",), ("chords", "primer_drums")),
    "music_transformer_tiny": (("num_tokens", "only_new", "bars"), ("drop_melody", "tracks")),
    "music_transformer_melody_tiny": (("drop_melody",), ("only_new", "guidance")),
    "musenet_tiny": (
        ("style", "guidance", "tokens", "bars", "tracks", "density"),
        ("window", "lyrics"),
    ),
    "vqvae_tiny": ((), ("style", "temperatures", "tokens", "top_k")),
    "jukebox_prior_tiny": (("lyrics", "upsamplers"), ("style", "bars")),
    "jukebox_delay_tiny": (("total_seconds", "top_p"), ("lyrics", "upsamplers")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name in MODELS:
        (root / name).mkdir()
        save_config(get_config(name), root / name / "config.yaml")
    return root


def shown(text: str) -> set[str]:
    lines = (line for line in text.splitlines() if line.startswith("  --"))
    return {line.strip()[2:].partition(":")[0] for line in lines}


@pytest.mark.parametrize("name", MODELS)
def test_help_of_a_run_shows_the_options_of_its_model_only(folder, name):
    code, out, error = run("magenta_lite.generate", "--run_dir", name, "--help", cwd=folder)
    assert code == 0, error
    own, others = MODELS[name]
    assert shown(out) >= {"mode", "input", "num_outputs", "temperature", "output_dir", *own}
    assert not shown(out) & set(others)


def test_help_without_a_run_names_the_families_of_each_option(folder):
    code, out, error = run("magenta_lite.generate", "--help", cwd=folder)
    assert code == 0, error
    assert "--style: [musenet] " in out and "--lyrics: [jukebox] " in out
    every = {name for family in FAMILIES.values() for name in options_of(family.options_class)}
    assert every <= shown(out)


@pytest.mark.parametrize(
    ("name", "flag", "words"),
    [
        ("cat-mel_2bar_tiny", "--style=jazz", "this music_vae model; it is an option of musenet"),
        ("jukebox_delay_tiny", "--lyrics=la", "this jukebox_delay model; it is an option of jukeb"),
        ("attention_rnn_tiny", "--chords=C", "models of melodies over chords take --backing_chor"),
        ("attention_rnn_tiny", "--backing_chords=C", "means nothing to this melody_rnn model; lea"),
        ("vqvae_tiny", "--top_k=3", "this vqvae model; it is an option of"),
    ],
)
def test_an_option_of_another_family_is_refused_with_the_family_that_has_it(
    folder, name, flag, words
):
    code, _, error = run("magenta_lite.generate", f"--run_dir={name}", flag, cwd=folder)
    assert code == 2 and words in error, error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_option_says_what_it_does(family):
    assert family.options_class.family == family.name == family.config_class.kind
    for name, field in options_of(family.options_class).items():
        assert field.metadata["help"].endswith((".", "…", "'", ")", '"')), name


@pytest.mark.parametrize("name", MODELS)
def test_a_model_knows_no_options_that_its_family_lacks(name):
    config = get_config(name)
    options_class = FAMILIES[config.family].options_class
    names = options_class.names(build_converter(config.converter))
    assert set(names) <= set(options_of(options_class))


def test_lyrics_are_a_text_or_the_file_that_holds_it_in_python_too(tmp_path):
    options_class, defaults = FAMILIES["jukebox"].options_class, GenerateConfig()
    path = tmp_path / "song.txt"
    path.write_text("la la", encoding="utf-8")
    assert options_class.of(defaults, lyrics=str(path)).lyrics == "la la"
    for text in ("no file", "la.\nla.txt", "Oh. My."):
        assert options_class.of(defaults, lyrics=text).lyrics == text
    with pytest.raises(UserError, match=r"--lyrics=words/lost\.txt: there is no such file"):
        options_class.of(defaults, lyrics="words/lost.txt")
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        options_class.of(defaults, lyrics=str(path))


LARGE = [
    ("cat-mel_2bar_tiny", {"num_outputs": 10**9}, "num_outputs=1000000000 must be at most 10,000"),
    (
        "cat-mel_2bar_tiny",
        {"bars": 10**6},
        "--bars=1000000: the length of a piece is a number of bars, 1 to 10,000",
    ),
    ("cat-mel_2bar_tiny", {"num_outputs": 10**4, "bars": 10**4}, "1,600,000,000 events together"),
    ("attention_rnn_tiny", {"num_steps": 10**8}, "--num_steps=100000000 must be at most 1,000,000"),
    ("attention_rnn_tiny", {"new_steps": 10**6, "beam_size": 500}, "the limit of a call is 20,000"),
    ("attention_rnn_tiny", {"branch_factor": 10**5}, "--branch_factor=100000 must be at most 100;"),
    ("music_transformer_tiny", {"num_tokens": 10**8}, "num_tokens=100000000 must be at most 1,0"),
    ("music_transformer_tiny", {"num_outputs": 1000, "num_tokens": 10**5}, "100,000,000 events"),
    ("music_transformer_tiny", {"num_tokens": 0}, "--num_tokens=0 must be at least 1"),
    ("musenet_tiny", {"minutes": 16.0}, "--minutes=16 must be at most 15"),
    ("musenet_tiny", {"minutes": 15.0, "candidates": 999}, "ask for fewer or shorter ones"),
    ("jukebox_prior_tiny", {"total_seconds": 1e6}, "--total_seconds=1e+06 must be at most 3,600"),
    ("jukebox_delay_tiny", {"total_seconds": 3e3, "num_outputs": 99}, "297,000 seconds together"),
    ("vqvae_tiny", {"num_outputs": 0}, "--num_outputs=0 must be at least 1"),
]


@pytest.mark.parametrize(("name", "given", "words"), LARGE, ids=str)
def test_a_request_without_end_is_refused_in_a_line(name, given, words):
    config = get_config(name)
    converter = build_converter(config.converter)
    options = FAMILIES[config.family].options_class
    mode = options.modes(converter)[0]
    with pytest.raises(UserError) as error:
        options.of(config.generate, mode=mode, **given).check_names(converter)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_command_and_the_api_refuse_it_alike(folder):
    words = "--num_outputs=1000000000 must be at most 10,000"
    config = get_config("music_transformer_tiny")
    made = as_run(config, build_model(config))
    with pytest.raises(UserError, match=words):
        made.generate(num_outputs=10**9)
    flags = ("--run_dir=cat-mel_2bar_tiny", "--num_outputs=1000000000")
    code, _, error = run("magenta_lite.generate", *flags, cwd=folder)
    assert code == 2 and words in error and len(error.strip().splitlines()) == 1, error


def test_pieces_that_do_not_fit_into_memory_are_refused_before_they_begin(monkeypatch):
    monkeypatch.setattr(limits.os, "sysconf", lambda name: 2**10)  # 1 MiB
    config = get_config("music_transformer_tiny")
    made = as_run(config, build_model(config))
    with pytest.raises(UserError, match="and this machine has 0; ask for at most 4 at a time"):
        made.generate(num_outputs=100, num_tokens=256)


def test_served_functions_refuse_it_too():
    model = build_model(get_config("basic_rnn_tiny"))
    generate, arguments = model.signatures()["generate"], model.signature_arguments(2, 1.0, 0)
    for name, limit in (("num_outputs", "10,000"), ("num_steps", "1,000,000")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} must be at most {limit}"):
            generate(**arguments | {name: tf.constant(2_000_000)})
