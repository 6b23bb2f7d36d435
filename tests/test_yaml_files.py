"""Configs of strangers: nothing in a `config.yaml` or in `--set` is evaluated, or expands."""

import dataclasses
import time
import tracemalloc

import pytest

from magenta_lite.config import get_config, load_config, override, save_config
from magenta_lite.errors import UserError

ODD = (
    *("single: b", "'q'", '"d"', "ünï\n\tx", "${oc.env:HOME}", "\\${x}", "???", "null", "~", "1e5"),
    *("\x85", "\u2028", "\x00", "\udce9", "=", "<<", "2020-01-01", "0x1f", "1:30", "on", " a ", ""),
    *(
        "!x",
        "&a",
        "*a",
        "- a",
        "# a",
        "%x",
        "@x",
        "`",
        "\ufeff",
        "\U0001f600",
        "[1",
        "{a",
        "a" * 9999,
    ),
)


def labelled(names):
    """Returns a config with these names of artists."""
    config = get_config("jukebox_prior_small_labelled")
    converter = dataclasses.replace(config.converter, artist_names=names, genre_names=names[:1])
    return dataclasses.replace(config, converter=converter)


def error_of(path):
    """Returns the one line that a user gets to read."""
    with pytest.raises(UserError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 900 and str(path) in message
    return message


@pytest.fixture
def path(tmp_path):
    """The config of a run."""
    save_config(get_config("cat-mel_2bar_tiny"), tmp_path / "config.yaml")
    return tmp_path / "config.yaml"


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize("names", [(), ("one",), ODD, tuple(f"'{i}: é" for i in range(100_000))])
def test_names_of_artists_are_read_back_whatever_they_are(names, tmp_path):
    config, began = labelled(names), time.monotonic()
    save_config(config, tmp_path / "config.yaml")
    loaded = load_config(tmp_path / "config.yaml")
    assert loaded == config
    # Texts of the section stay as they are if another of its values is set.
    changed = override(loaded, ["converter.level=1"])
    assert changed == dataclasses.replace(
        config, converter=dataclasses.replace(config.converter, level=1)
    )
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("source", ["${oc.env:HOME}", "${train.seed}", "???", "~/${x}"])
def test_text_of_a_config_or_of_set_is_not_evaluated(source, path):
    edit(path, "source: folk", f"source: {source!r}")
    assert load_config(path).data.source == source
    assert get_config("cat-mel_2bar_tiny", [f"data.source='{source}'"]).data.source == source


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "'${train.steps}'", "'???'", "[${x}]"])
def test_a_number_is_not_evaluated_either(value, path):
    edit(path, "seed: 0", f"seed: {value}")
    assert "train.seed" in error_of(path) or "config.yaml" in error_of(path)
    with pytest.raises(UserError, match=r"train\.seed"):
        get_config("cat-mel_2bar_tiny", [f"train.seed={value}"])


def aliases(depth):
    """Returns YAML that expands to 9 ** depth values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, depth):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (aliases(12), "line 2: aliases"),
        ("name: !!python/object/apply:os.system ['touch x']", "line 1: aliases (*name) and tags"),
        ("name: !x y", "line 1: aliases"),
        ("\n\nname: [", "line 4"),
        ("name: x\n  seed: 3", "line 2"),
        ("name: '\x07'", "unacceptable character"),
        ("name: 2020-13-45", "month"),
        ("? [a]\n: b", "config.yaml"),
        ("a: " + "[" * 10_000, "line 1: exceeded"),
        ("- " * 10_000, "line 1: more than 500,000 values, or 16"),
        ("\n".join(" " * i + "a:" for i in range(3000)), "line 17"),
        (f"name: {'1' * 10_000}", "config.yaml"),
        ("name: ../../x", "config.yaml"),
        ("- x\n" * 600_000, "more than 500,000 values"),
        ("#" * 2**24 + "#", "larger than 16 MB"),
    ],
)
def test_what_is_no_config_is_told_by_its_line_and_costs_no_memory(text, words, path):
    path.write_text(text)
    tracemalloc.start()
    try:
        assert words in error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_bytes_that_are_no_text_and_what_is_no_file(path):
    path.write_bytes(b"name: \xff\xfe")
    assert "not text in UTF-8" in error_of(path)
    path.unlink()
    path.mkdir()
    assert "is missing" in error_of(path)
    assert "is missing" in error_of(path / ("x" * 300) / "config.yaml")
    assert "is missing" in error_of(path / "a\0b" / "config.yaml")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("kind: music_vae", "kind: os.system", "Unknown kind of section"),
        ("kind: music_vae", "kind: [music_vae]", "config.yaml"),
        ("seed: 0", "seed: [1, 2]", "train.seed"),
        ("seed: 0", "seed: {a: 1}", "train.seed"),
        ("seed: 0", "unknown: 0", "unknown"),
        ("source: folk", "source: {a: b}", "data.source"),
        ("name: cat-mel_2bar_tiny", 'name: "a\\nb"', "not the name"),
        ("name: cat-mel_2bar_tiny", "name: [x]", "not the name"),
    ],
)
def test_values_of_a_wrong_kind_are_told_by_their_key(before, after, words, path):
    edit(path, before, after)
    assert words in error_of(path)


@pytest.mark.parametrize("value", ["[1, ", "*x", "!x y", "[" * 99])
def test_set_takes_values_only(value):
    with pytest.raises(UserError, match="is not a value") as error:
        get_config("cat-mel_2bar_tiny", [f"train.seed={value}"])
    assert "\n" not in str(error.value)
