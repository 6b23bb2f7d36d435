"""`generate --mode=harmonize`: voices are given, and a model of chorales writes the others."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import music_pb2
from small_chorales import TWO_PITCHES, made

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.modeling.particles import complete


def melody(*notes):
    """Returns a melody of (pitch, steps) at 120 quarter notes a minute."""
    piece, time = music_pb2.NoteSequence(), 0.0
    for pitch, steps in notes:
        end = time + steps * 0.125
        piece.notes.add(pitch=pitch, start_time=time, end_time=end, velocity=90)
        time = end
    piece.total_time = time
    piece.tempos.add(qpm=120)
    return piece


TUNE = melody((67, 4), (67, 4), (72, 2), (71, 2), (69, 4))


def harmonize(model, converter, *inputs, **changes):
    options = MusicTransformerOptions(
        "harmonize", [(f"tune{i}", tune) for i, tune in enumerate(inputs)], num_outputs=2, seed=3
    )
    return model.generate(options.replace(**{"particles": 4, **changes}), converter)


def test_pieces_follow_the_distribution_given_later_tokens():
    """The exact distribution of three voices given the bass, by enumeration."""
    model, _ = made(*TWO_PITCHES)
    bass, ids = 4, range(2, 5)
    rows = np.array([(*above, bass) for above in itertools.product(ids, repeat=3)])
    logits = model({"events": tf.constant(rows, tf.int32)})[..., 2:]  # no padding, no end
    log_p = tf.gather(tf.nn.log_softmax(logits), rows - 2, axis=2, batch_dims=2)
    expected = tf.nn.softmax(tf.reduce_sum(log_p, axis=1)).numpy()

    def distance(particles):
        """Returns the total variation distance of pieces from the exact distribution."""
        share = np.zeros(27)
        for seed in range(2):
            options = MusicTransformerOptions(num_outputs=300, seed=seed)
            pieces = complete(model, np.array([-1, -1, -1, bass]), options, particles, every=4)
            assert (pieces[:, 3] == bass).all()
            share += np.bincount((pieces[:, :3] - 2) @ [9, 3, 1], minlength=27)
        return np.abs(share / share.sum() - expected).sum() / 2

    assert distance(particles=32) < 0.08
    # What a model writes from left to right, without knowing the bass, is something else.
    assert distance(particles=1) > 0.15


def test_resampled_pieces_are_whole(monkeypatch):
    """The caches of a particle are those of its tokens: the next tokens follow from them."""
    from magenta_lite.modeling import particles

    model, _ = made(*TWO_PITCHES)
    given = np.tile([3, -1, -1, 4], 12)
    greedy = MusicTransformerOptions(num_outputs=2, seed=1, temperature=0.0)
    monkeypatch.setattr(particles, "RESAMPLED_BELOW", 2.0)  # always
    pieces = complete(model, given, greedy, particles=3, every=4)
    logits = model({"events": tf.constant(pieces)}).numpy()
    logits[..., :2] = -np.inf  # never padding or an end
    free = given < 0
    np.testing.assert_array_equal(logits.argmax(axis=-1)[:, free], pieces[:, free])


def test_no_piece_ends_before_its_given_voices():
    narrow = (*TWO_PITCHES, "converter.end_token=true")
    model, converter = made(*narrow)
    end = converter.rules.end
    assert end is not None
    given = np.tile([3, -1, -1, 4], 12)
    options = MusicTransformerOptions(num_outputs=20, seed=1)
    pieces = complete(model, given, options, particles=2, every=4)
    assert pieces.shape == (20, 48)
    assert not np.isin(pieces, [0, end]).any()
    assert (pieces[:, given >= 0] == given[given >= 0]).all()


def test_the_given_voice_is_kept_to_the_note():
    model, converter = made()
    first, second = harmonize(model, converter, TUNE)
    for piece in (first, second):
        soprano = [n for n in piece.notes if n.instrument == 0]
        kept = [(n.pitch, n.start_time, n.end_time) for n in soprano]
        assert kept == [(n.pitch, n.start_time, n.end_time) for n in TUNE.notes]
        assert {n.instrument for n in piece.notes} == {0, 1, 2, 3}
        assert piece.total_time == TUNE.total_time
    assert first != second
    assert harmonize(model, converter, TUNE)[0] == first


def test_any_voices_may_be_given():
    model, converter = made()
    chorale, _ = harmonize(model, converter, TUNE)
    again, _ = harmonize(model, converter, chorale, voices=("bass", "soprano"))

    def notes_of(piece, voice):
        notes = (n for n in piece.notes if n.instrument == voice)
        return [(n.pitch, n.start_time, n.end_time) for n in notes]

    for voice in (0, 3):
        assert notes_of(again, voice) == notes_of(chorale, voice)
    low, _ = harmonize(model, converter, melody((48, 8), (50, 8)), voices=("bass",))
    assert notes_of(low, 3) == [(48, 0, 1), (50, 1, 2)]


@pytest.mark.parametrize(
    ("inputs", "changes", "words"),
    [
        ([], {}, "needs --input=FILE with the voices to keep"),
        ([TUNE], {"voices": ("alt",)}, "Unknown voice 'alt'"),
        (
            [TUNE],
            {"voices": ("soprano", "bass")},
            "has 1 voices, and --voices=soprano,bass",
        ),
        ([TUNE], {"voices": ("soprano", "alto", "tenor", "bass")}, "leaves no voice to write"),
        ([TUNE], {"num_tokens": 9}, "omit --num_tokens"),
        ([TUNE], {"num_outputs": 1000, "particles": 32}, "--particles=32 of --num_outputs=1000"),
        ([TUNE], {"particles": 0}, "--particles=0 must be at least 1"),
        ([melody((100, 4))], {}, "has no voices to keep"),
        ([melody((67, 4000))], {}, "the model writes at most"),
    ],
)
def test_wrong_requests_are_told_in_one_line(inputs, changes, words):
    model, converter = made()
    with pytest.raises(UserError, match=words) as error:
        harmonize(model, converter, *inputs, **changes)
    assert "\n" not in str(error.value)


def test_only_models_of_chorales_harmonize():
    tiny = build_converter(get_config("music_transformer_tiny").converter)
    names = MusicTransformerOptions.names(tiny)
    assert "voices" not in names
    assert "particles" not in names
    with pytest.raises(UserError, match="models of --config=music_transformer_jsb harmonize"):
        MusicTransformerOptions("harmonize").check(tiny)
