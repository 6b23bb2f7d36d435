"""Drawing a class of a categorical distribution."""

import numpy as np
import tensorflow as tf

from magenta_lite.graphs import graph_function
from magenta_lite.modeling.sampling import filtered_logits, inverse_cumulative, sample_categorical

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
        return sample_categorical(filtered_logits(tf.constant(logits)), uniform)

    for column in uniform.T[-60:]:
        drawn = draw(tf.constant(column)).numpy()
        assert (drawn % 7 == 0).all() and (p[np.arange(64), drawn] > 0).all()


def test_a_draw_on_a_sum_is_the_next_class():
    logits = tf.math.log([[0.5, 0.25, 0.25]] * 4)
    drawn = sample_categorical(logits, tf.constant([0.0, 0.4999, 0.5, 0.75]))
    assert drawn.numpy().tolist() == [0, 0, 1, 2]
