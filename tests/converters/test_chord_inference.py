"""Chords inferred from notes are those of note_seq, ties included."""

import functools

import numpy as np
import pytest
from note_seq import chord_inference as theirs
from note_seq import sequences_lib
from note_seq.protobuf import music_pb2

from magenta_lite.converters import chord_inference as ours
from magenta_lite.converters.chords import UnusableChords, chord_line
from magenta_lite.converters.grid import Stretch, stretches
from magenta_lite.converters.score import NoteArrays, Score
from magenta_lite.data.reading import read_source
from magenta_lite.data.specs import DATASETS


@functools.cache
def transitions():
    chances = theirs._key_chord_distribution(0.01)
    compute = theirs._key_chord_transition_distribution
    return compute(chances, key_change_prob=0.001, chord_change_prob=0.5)


def expected(sequence, chords_per_bar=2):
    """Returns (step, chord) of each change of note_seq's chords of a piece in 4/4."""
    quantized = sequences_lib.quantize_note_sequence(sequence, 4)
    with pytest.MonkeyPatch.context() as patch:  # the table depends on constants only
        name = "_key_chord_transition_distribution"
        table = transitions()
        patch.setattr(theirs, name, lambda *_, **__: table)
        theirs.infer_chords_for_sequence(quantized, chords_per_bar=chords_per_bar)
    return [(a.quantized_step, a.text) for a in quantized.text_annotations]


def inferred(sequence, chords_per_bar=2):
    """Returns what `expected` returns, by our inference."""
    steps = 16 // chords_per_bar
    symbols = ours.infer(NoteArrays.of(sequence), steps / (4 * sequence.tempos[0].qpm / 60))
    changes = enumerate(zip(symbols, ["", *symbols], strict=False))
    return [(steps * frame, now) for frame, (now, before) in changes if now != before]


def random_piece(seed, qpm):
    """Returns a piece of few pitches on a grid, in which many chords are equally likely."""
    rng = np.random.default_rng(seed)
    piece = music_pb2.NoteSequence()
    piece.tempos.add(qpm=qpm)
    pitches = rng.choice(12, rng.integers(1, 9), replace=False)
    for _ in range(rng.integers(1, 80)):
        start = rng.integers(0, 100) * 15 / qpm
        end = start + rng.integers(0, 20) * 15 / qpm
        piece.notes.add(
            pitch=48 + int(rng.choice(pitches)),
            velocity=80,
            start_time=start,
            end_time=end,
            program=int(rng.choice([0, 40, 100, 120])),
            is_drum=bool(rng.random() < 0.1),
        )
    piece.total_time = max(note.end_time for note in piece.notes)
    return piece


def test_constants_are_those_of_note_seq():
    model = ours.model()
    chances = theirs._key_chord_distribution(0.01)
    np.testing.assert_array_equal(model.first, np.log(chances))
    np.testing.assert_array_equal(model.pitches, theirs._chord_pitch_vectors())
    wanted = np.log(transitions()).reshape(12, 97, 12, 97)
    arrivals = model.arrivals[model.arrival]  # the same from every chord of another key
    composed = np.broadcast_to(arrivals, (12, 97, 12, 97)).copy()
    for key in range(12):
        composed[key, :, key] = model.within[key].T
    np.testing.assert_array_equal(composed, wanted)


@pytest.mark.parametrize("qpm", [120.0, 97.3])
@pytest.mark.parametrize("seed", range(6))
def test_random_pieces_have_the_chords_of_note_seq(seed, qpm):
    piece = random_piece(seed, qpm)
    per_bar = 1 + seed % 2
    assert inferred(piece, per_bar) == expected(piece, per_bar)


def test_equally_likely_states_are_resolved_as_in_note_seq():
    rng = np.random.default_rng(0)
    for loglik in (np.zeros((5, 97)), rng.integers(0, 3, (12, 97)).astype(float)):
        found = theirs._key_chord_viterbi(loglik, ours.model().first, np.log(transitions()))
        states = ours.viterbi(loglik)
        assert [(s // 97, theirs._CHORDS[s % 97]) for s in states] == found


def test_real_pieces_have_the_chords_of_note_seq():
    sources = DATASETS["bach_chorales"].list_sources("")[0]
    compared = 0
    for source in sources[:40:8]:
        for part in stretches(read_source(source)[0][0].sequence):
            if (part.numerator, part.denominator) != (4, 4):
                continue
            piece = music_pb2.NoteSequence(notes=part.score.sequence().notes)
            piece.tempos.add(qpm=part.qpm)
            piece.total_time = max(note.end_time for note in piece.notes)
            assert inferred(piece) == expected(piece)
            compared += len(inferred(piece))
    assert compared > 50


@pytest.mark.parametrize(("seconds", "reason"), [(2001.0, "too long"), (0.0, "of no length")])
def test_pieces_without_chords_have_a_reason(seconds, reason):
    piece = music_pb2.NoteSequence()
    piece.notes.add(pitch=60, velocity=80, end_time=seconds)
    with pytest.raises(UnusableChords, match=reason):
        chord_line(Stretch(Score.of(piece), 120.0, 4, 4), 4)
