"""Labels and lyrics of sound files: a table, JSON files, and what is wrong with them."""

from __future__ import annotations

import json
import os

import pytest

from magenta_lite.data.audio import list_sounds
from magenta_lite.data.labels import Labels
from magenta_lite.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "b.mp3", "sub/c.flac"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def _labels(folder):
    sources, report = list_sounds(folder)
    return {source.name: source.labels for source in sources}, report


def test_a_table_and_json_files_say_what_is_known(folder):
    (folder / "labels.csv").write_text(
        "\ufefffile,Artist,genre,lyrics,lyrics_file\n"
        'a.wav,"Walkers, The",folk,,words/a.txt\n'
        "sub/c.flac,Nobody,waltz,Oh my,\n",
        encoding="utf-8",
    )
    (folder / "words").mkdir()
    (folder / "words" / "a.txt").write_text("Über\nall \n", encoding="utf-8")
    (folder / "sub" / "c.json").write_text(json.dumps({"artist": "Cee", "year": 1999}))
    labels, report = _labels(folder)
    assert labels == {
        "a.wav": Labels("Walkers, The", "folk", "Über\nall"),
        "b.mp3": Labels(),
        "sub/c.flac": Labels("Cee", "waltz", "Oh my"),
    }
    assert not report.dropped  # files of labels are not files that are no sound


def test_one_file_has_the_json_beside_it(folder):
    (folder / "a.json").write_text('{"genre": "folk"}')
    assert _labels(folder / "a.wav")[0] == {"a.wav": Labels(genre="folk")}


def test_a_file_with_a_name_in_latin_1_has_the_json_beside_it(folder):
    latin = os.fsdecode("Lied\xe9".encode("latin-1"))
    (folder / "a.wav").rename(folder / f"{latin}.wav")
    (folder / f"{latin}.json").write_text('{"genre": "folk"}')
    labels, report = _labels(folder)
    assert labels["Lied\xe9.wav"] == Labels(genre="folk")
    assert not report.dropped


def test_what_is_said_of_nothing_is_reported(folder):
    (folder / "labels.csv").write_text(
        "file,artist,lyrics_file\nz.wav,Me,\na.wav,Me,../a.txt\nb.mp3,Me,latin.txt\n"
    )
    (folder.parent / "a.txt").write_text("la")
    (folder / "latin.txt").write_bytes("Süß".encode("latin-1"))
    labels, report = _labels(folder)
    assert labels["a.wav"] == labels["b.mp3"] == Labels(artist="Me")
    assert report.places == {
        "labels in labels.csv of what is not there": ["z.wav"],
        "file of lyrics outside the folder": ["../a.txt"],
        "file of lyrics that is no UTF-8 text": ["latin.txt"],
    }


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "file of labels that is not JSON"),
        ("[]", "file of labels that is not JSON object"),
        ('{"artist": ["a"]}', "label artist that is not text"),
    ],
)
def test_bad_json_costs_its_labels_only(folder, text, reason):
    (folder / "a.json").write_text(text)
    labels, report = _labels(folder)
    assert labels["a.wav"] == Labels()
    ((found, places),) = report.places.items()
    assert found.startswith(reason)
    assert places == ["a.wav"]


@pytest.mark.parametrize(
    "table, message",
    [
        ("", r"first row of .*labels\.csv must name its columns"),
        ("artist,genre\nMe,folk\n", "first row of .* must name its columns"),
        ("file\na.wav\n", "first row of .* must name its columns"),
        ("file,artist,artist\na.wav,Me,You\n", "each once"),
        ("file,artst\na.wav,Me\n", r"Unknown column of .* 'artst'.*artist"),
        ("file,artist\na.wav,Oh, my\n", "Row 2 of .* has 3 fields and its first row 2"),
        (b"file,artist\na.wav,S\xfc\xdf\n", "is no table of labels"),
        (
            "file,lyrics_file\nb.mp3,\na.wav,x/lost.txt\n",
            r"Row 3 of .* names the lyrics x/lost\.txt",
        ),
    ],
)
def test_a_table_that_is_none_is_an_error_of_one_line(folder, table, message):
    data = table if isinstance(table, bytes) else table.encode()
    (folder / "labels.csv").write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        list_sounds(folder)
    assert "\n" not in str(error.value)
