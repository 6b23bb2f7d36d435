"""The longest passage that a piece shares with the training set."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from note_seq.protobuf import music_pb2

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.musenet.converter import MuseNetConverterConfig
from magenta_lite.data.collections import Examples
from magenta_lite.data.memorization import longest_shared, report

few = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@given(st.lists(few, min_size=1, max_size=3), st.lists(few, min_size=1, max_size=4))
def test_the_longest_passage_of_each_piece_is_found(pieces, rows):
    passages = longest_shared([np.array(p) for p in pieces], [np.array(row) for row in rows])
    texts = ["".join(map(str, row)) for row in rows]
    for piece, found in zip(pieces, passages, strict=True):
        text = "".join(map(str, piece))
        runs = [text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)]
        longest = max((len(run) for run in runs if any(run in t for t in texts)), default=0)
        assert found.length == longest
        assert text[found.start : found.start + found.length] in texts[found.row]


def tune(pitches, seconds, program=0):
    sequence = music_pb2.NoteSequence()
    for i, pitch in enumerate(pitches):
        start = i * seconds
        sequence.notes.add(
            pitch=int(pitch), start_time=start, end_time=start + 0.1, velocity=80, program=program
        )
    return sequence


def test_key_and_tempo_do_not_hide_a_copy_and_the_instrument_matters():
    converter = build_converter(MuseNetConverterConfig(min_tokens=1))
    pitches = np.random.default_rng(0).integers(50, 80, 60)
    (row,) = converter.encode(tune(pitches, 0.25)).examples
    examples = Examples(row[None], np.array([len(row)]), ["book/tune.mid"])
    copy = tune(np.concatenate([[90, 20], pitches[10:40] + 5, [21]]), 0.4)
    other = tune(pitches, 0.25, program=40)
    lines = list(report(converter, [copy, other], examples))
    # Of the first note of a copy it is not known how it is come to.
    assert lines[0] == ("Piece 1: 29 notes in a row are also in the training set, in book/tune.mid")
    assert lines[1] == "Piece 2: 0 notes in a row are also in the training set"


def test_copies_are_found_in_the_music_of_any_converter():
    converter = build_converter(get_config("cat-mel_2bar").converter)
    pitches = np.random.default_rng(0).integers(50, 80, 16)
    (row,) = converter.encode(tune(pitches, 0.25)).examples
    examples = Examples(row[None], np.array([len(row)]), ["book/tune.mid"])
    lines = list(report(converter, [tune(pitches + 5, 0.5), tune(pitches[::-1], 0.25)], examples))
    assert lines[0] == "Piece 1: 15 notes in a row are also in the training set, in book/tune.mid"
    assert int(lines[1].split()[2]) < 4
