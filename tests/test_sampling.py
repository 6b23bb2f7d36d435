"""Drawing events from logits."""

import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.graphs import graph_function
from magenta_lite.modeling.sampling import Sampler, inverse_cumulative, output_seeds, uniforms_of

LARGEST = np.float32(1 - 2.0**-24)  # below 1


def test_no_class_of_probability_0_is_drawn_where_sums_fall():
    p = np.array([0, 0.25, 0, 0, 0.25, 0, 0.5, 0, 0], np.float32)
    # As XLA rounds: falling behind a class, and short of the whole at the end.
    sums = np.array([0, 0.25, 0.2499, 0.2501, 0.5, 0.4999, 0.9997, 0.9998, 0.9996], np.float32)
    uniform = np.concatenate([np.linspace(0, 1, 20_001, dtype=np.float32)[:-1], [LARGEST]])
    rows = (len(uniform), 1)
    drawn = inverse_cumulative(tf.tile(p[None], rows), tf.tile(sums[None], rows), uniform).numpy()
    assert set(drawn) == {1, 4, 6}
    np.testing.assert_allclose(np.bincount(drawn, minlength=9) / len(drawn), p, atol=1e-3)


def test_compiled_draws_of_a_large_vocabulary_are_possible():
    """4,864 ids of which a rule allows every seventh, at the uniforms that lie on the sums."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, 4864)).astype(np.float32) * 3
    logits[:, np.arange(4864) % 7 > 0] = np.finfo(np.float32).min
    p = tf.nn.softmax(logits).numpy()
    uniform = np.concatenate([np.cumsum(p, axis=1)[:, ::10], np.full((64, 1), LARGEST)], axis=1)
    uniform = np.minimum(uniform, LARGEST).astype(np.float32)

    @graph_function(jit_compile=True)
    def draw(uniform):
        return Sampler().draw(tf.constant(logits), uniform)[0]

    for column in uniform.T[-60:]:
        drawn = draw(tf.constant(column)).numpy()
        assert (drawn % 7 == 0).all() and (p[np.arange(64), drawn] > 0).all()


def test_a_draw_on_a_sum_is_the_next_class():
    logits = tf.math.log([[0.5, 0.25, 0.25]] * 4)
    drawn, _ = Sampler().draw(logits, tf.constant([0.0, 0.4999, 0.5, 0.75]))
    assert drawn.numpy().tolist() == [0, 0, 1, 2]


def test_log_probabilities_are_those_of_what_is_drawn_from():
    p = tf.constant([[[0.1, 0.6, 0.3], [0.6, 0.1, 0.3]]])
    drawn, log_p = Sampler(top_k=2).draw(tf.math.log(p), tf.constant([[0.7, 0.6]]))
    assert drawn.numpy().tolist() == [[2, 0]]  # of 2/3 and 1/3
    np.testing.assert_allclose(np.exp(log_p), [[1 / 3, 2 / 3]], rtol=1e-5)
    drawn, log_p = Sampler(temperature=0.5).draw(tf.math.log(p[0]), tf.constant([0.0, 0.9]))
    assert drawn.numpy().tolist() == [0, 2]
    np.testing.assert_allclose(np.exp(log_p), np.array([0.01, 0.09]) / 0.46, rtol=1e-5)
    for uniform in (0.0, LARGEST):
        drawn, log_p = Sampler(temperature=0.0).draw(tf.math.log(p), tf.fill([1, 2], uniform))
        assert drawn.numpy().tolist() == [[1, 0]]
        np.testing.assert_allclose(log_p, 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.0},
        {"temperature": 2.0},
        {"top_k": 1},
        {"top_k": 2},
        {"top_p": 0.7},
        {"top_p": 0.999},
        {"min_p": 0.2},
        {"temperature": 0.3, "min_p": 0.2},
        {"temperature": 3.0, "top_p": 0.6},
    ],
    ids=str,
)
def test_what_happens_or_does_not_is_drawn_as_one_of_two_classes(settings):
    sampler = Sampler(**settings)
    logits = tf.constant([-30.0, -3.0, -1.7, -0.9, -0.1, 0.1, 0.9, 1.7, 3.0, 30.0])
    uniforms = np.linspace(0, 1, 1001, dtype=np.float32)[:-1] + np.float32(0.0005)
    uniforms = np.repeat(uniforms[:, None], len(logits), axis=1)
    two = tf.stack([logits, tf.zeros_like(logits)], axis=-1)
    drawn, _ = sampler.draw(tf.repeat(two[None], len(uniforms), axis=0), uniforms)
    happens = sampler.draw_binary(logits, uniforms)
    np.testing.assert_array_equal(happens, drawn == 0)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, [0.5, 0.06, 0.3, 0.1, 0.04, 0]),
        ({"top_k": 2}, [0.5, 0.06, 0.3, 0, 0.04, 0]),
        ({"top_p": 0.75}, [0.5, 0.06, 0.3, 0, 0.04, 0]),
        ({"top_p": 0.5, "temperature": 0.5}, [0.5**2, 0.06**2, 0, 0, 0.04**2, 0]),
        ({"min_p": 0.5, "temperature": 2.0}, [0.5**0.5, 0.06**0.5, 0.3**0.5, 0, 0.2, 0]),
    ],
    ids=str,
)
def test_no_filter_excludes_what_is_always_kept(settings, kept):
    logits = np.log([0.5, 0.06, 0.3, 0.1, 0.04, 1.0]).astype(np.float32)
    logits[-1] = np.finfo(np.float32).min  # what a grammar forbids
    always = tf.constant([False, True, False, False, True, True])
    p = tf.nn.softmax(Sampler(**settings).filtered(tf.constant(logits), always))
    np.testing.assert_allclose(p, np.array(kept) / np.sum(kept), atol=1e-5)


def test_the_most_probable_alone_has_no_exemption():
    logits, always = tf.math.log([[0.6, 0.4]]), tf.constant([[False, True]])
    greedy = ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0})
    for settings in greedy:
        drawn, log_p = Sampler(**settings).draw(logits, tf.constant([LARGEST]), always)
        assert (drawn.numpy(), log_p.numpy()) == ([0], [0.0])


def test_a_row_of_random_numbers_depends_on_its_seed_alone():
    many, one = uniforms_of(output_seeds(5, 4), [3, 2]), uniforms_of(tf.constant([[5, 2]]), [3, 2])
    np.testing.assert_array_equal(many[2:3], one)
    assert len(np.unique(many)) == 24
