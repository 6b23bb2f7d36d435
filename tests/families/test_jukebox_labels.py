"""Labels of pieces against recorded cases: names, lyrics, label vectors, bins of time."""

import json

import numpy as np
import pytest
import tensorflow as tf
from jukebox_golden import GOLDEN

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.conditioning import time_bins
from magenta_lite.families.jukebox.config import JukeboxPriorConfig
from magenta_lite.families.jukebox.labels import (
    LabelNames,
    PieceLabels,
    alphabet,
    characters_of,
    clean_text,
    lyric_window,
    text_of,
)

CASES = json.loads((GOLDEN / "data" / "cases.json").read_text())
# The original writes these in Latin letters; here they are left out.
FOREIGN = ("你好 Ж", "½ © €5")
SMALL = {"codes": 4, "width": 4, "depth": 1, "blocks": 1, "artists": 8, "genres": 10}


def test_names_are_normalised_as_recorded():
    names = LabelNames.of((), (), words=True)
    for case in CASES["name_normalisation_v2"]:
        assert names.normalized(case["name"]) == case["normalised"]


def test_names_have_numbers():
    for words in (True, False):
        names = LabelNames.of(["Zig & Zag", "zig & zag", "B"], ["Hard Rock", "Rock", ""], words)
        assert [names.artist(n) for n in ("Zig & ZAG", "b", "who?")] == [1, 2, 0]
        assert names.genre("rock") == (2,)
        assert names.genre("Hard Rock") == ((1, 2) if words else (1,))
        assert names.unknown("b", "hard rock") == names.unknown("", "") == []
    assert names.unknown("Who?", "soft rock") == ["who?", "soft rock"]


@pytest.mark.parametrize(("version", "size"), [("v2", 80), ("v3", 79)])
def test_lyrics_are_cleaned_and_numbered_as_recorded(version, size):
    assert CASES["text"][version]["n_vocab"] == len(alphabet(size)) + 1 == size
    cases = [case for case in CASES["text"][version]["cases"] if case["text"] not in FOREIGN]
    assert len(cases) == 11
    for case in cases:
        assert clean_text(case["text"], size) == case["cleaned"]
        assert characters_of(case["text"], size).tolist() == case["tokens"]
        assert text_of([0, 0, *case["tokens"]], size) == case["back"]
    assert [clean_text(text, size) for text in FOREIGN] == [" ", "12  5"]


def test_other_alphabets_are_refused():
    with pytest.raises(UserError, match="lyric_vocabulary=78 has no alphabet"):
        characters_of("la", 78)


def test_contexts_are_told_the_recorded_characters():
    told = 0
    for case in CASES["lyric_windows"]:
        count, length = case["n_full"], case["n_tokens"]
        window = lyric_window(count, length, case["total_length"], case["offset"], case["duration"])
        assert len(window) == length
        if case.get("result") == "rejected":
            assert length % 2  # the original has windows of even length only
            continue
        told += 1
        characters = np.where(window < 0, 0, window + 1)
        assert window[0] == case["first_index"]
        assert (window < 0).sum() == case["padding"]
        assert characters[:4].tolist() == case["tokens_head"]
        assert characters[-4:].tolist() == case["tokens_tail"]
    assert told > 30
    for case in CASES["lyric_windows_precision"]:
        times = (case["total_length"], case["offset"], case["duration"])
        window = lyric_window(case["n_full"], case["n_tokens"], *times)
        assert window[0] == case["start_python_numbers"]


@pytest.mark.parametrize("case", CASES["label_vectors"])
def test_label_vectors_are_the_recorded_ones(case):
    words, most = not case["v3"], case["max_genre_words"]
    config = JukeboxPriorConfig(
        **SMALL,
        context=64,
        hop=case["sample_length"] // 64,
        max_genres=most,
        lyric_tokens=case["n_tokens"],
        lyric_vocabulary=79 if case["v3"] else 80,
        single_stream=case["n_tokens"] > 0,
    )
    names = LabelNames.of(["a"], ["b"], words)
    times = case["total_length"], case["offset"]
    # Two unknown words of a genre are two unknown genres, where a genre is words.
    said = {"artist": "who", "genre": "x y", "lyrics": case["lyrics"]}
    said = PieceLabels.of(names, config, *times, **said)
    np.testing.assert_array_equal(said.vector(config), case["y"])
    if case["n_tokens"]:
        assert list(said.characters) == case["full_tokens"]
    assert PieceLabels.of(names, config, *times).vector(config)[4 : 5 + most][0] == 0
    wanted = case["y_from_ids"][: 4 + most]
    numbered = PieceLabels(*times, wanted[3], tuple(g for g in wanted[4:] if g >= 0))
    assert numbered.vector(config)[: 4 + most].tolist() == wanted
    later = said.vector(config, start=10)
    assert later[1] == case["offset"] + 10 * config.hop


# Time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES["timing"], ids=lambda case: case["name"])
def test_bins_of_time_are_the_recorded_ones(case):
    arrays = np.load(GOLDEN / "data" / "timing.npz")
    config = timed(case["n_ctx"], case["hop"], case["sr"], case["t_bins"], case)
    bins = time_bins(config, tf.constant(arrays[f"{case['name']}/total_offset_length"]))
    for ours, theirs in (("total", "bin"), ("absolute", "bins"), ("relative", "bins")):
        np.testing.assert_array_equal(bins[ours], arrays[f"{case['name']}/{ours}_{theirs}"])


def timed(context, hop, rate, bins, durations) -> JukeboxPriorConfig:
    times = {name: durations[name] for name in ("min_duration", "max_duration")}
    sizes = {"context": context, "hop": hop, "sample_rate": rate, "time_bins": bins}
    return JukeboxPriorConfig(**SMALL, **sizes, **times)


def test_times_beyond_the_tables_are_refused_where_recorded():
    config = timed(8, 8, 400, 16, {"min_duration": 1.0, "max_duration": 20.0})
    for case in CASES["range_edges"]:
        if case["table"] == "relative":
            continue
        if case["table"] == "total":
            total, offset, length = case["start"], 0, 8
        else:
            total, offset, length = 7999, case["start"], case["end"] - case["start"]
        config = timed(8, length // 8, 400, 16, {"min_duration": 1.0, "max_duration": 20.0})
        piece = PieceLabels(total, offset)
        if case["bins"] == "rejected":
            with pytest.raises(UserError):
                piece.vector(config)
            continue
        bins = time_bins(config, piece.vector(config)[None])[case["table"]]
        assert bins[0].numpy().tolist() == case["bins"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"total": 100}, "A piece of 0.25 s (100 samples at 400 Hz) is not of 1 s to less than"),
        ({"offset": 7000}, "Sample 7000 is not in a piece of 4000 samples"),
        ({"total": 7999, "offset": 7990}, "A context ends after 20.14 s; the model knows 20 s"),
        ({"artist": 8}, "Artist 8 is none of the model's 8"),
        ({"genres": (10,)}, "Genres [10] are not all of the model's 10"),
    ],
)
def test_what_a_model_does_not_know_is_told(changes, words):
    config = timed(8, 8, 400, 16, {"min_duration": 1.0, "max_duration": 20.0})
    with pytest.raises(UserError) as error:
        PieceLabels(**{"total": 4000} | changes).vector(config)
    assert words in str(error.value)
