"""Heads and their distributions against numpy, and draws against the probabilities they say."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EventFormat
from magenta_lite.families.building import build_model
from magenta_lite.families.music_vae.distributions import HIT_EPSILON, NADE_EPSILON, Groove, Nade
from magenta_lite.families.music_vae.heads import make_head
from magenta_lite.modeling.sampling import Sampler

CLASSES, HIDDEN = 5, 3
SETS = np.array(list(itertools.product((0, 1), repeat=CLASSES)))
FORMATS = {
    "categorical": EventFormat("categorical", (7,)),
    "multi_categorical": EventFormat("multi_categorical", (4, 3, 6)),
    "roll": EventFormat("roll", (CLASSES,)),
    "groove": EventFormat("groove", (3,)),
}
DRAWS = 10_000


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def chi_square_is_small(counts, probabilities):
    """Returns whether counts lie as near to n * probabilities as draws do (5 standard errors)."""
    expected = counts.sum() * probabilities
    assert expected.min() > 5, "too few draws for this test"
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    return statistic < freedom + 5 * math.sqrt(2 * freedom)


# NADE --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nade_parameters():
    """Biases and weights of a small NADE whose classes depend on each other."""
    rng = np.random.default_rng(5)
    shapes = ((HIDDEN,), (CLASSES,), (CLASSES, HIDDEN), (CLASSES, HIDDEN))
    scales = (1.0, 0.5, 2.0, 1.5)
    draws = [scale * rng.normal(size=shape) for scale, shape in zip(scales, shapes, strict=True)]
    return [draw.astype(np.float32) for draw in draws]


def nade_conditionals(parameters, members):
    """Returns the probability of each class given those before it in `members`: float64 (D,)."""
    a, output_bias, encoder_weights, decoder_weights = (np.float64(x) for x in parameters)
    probabilities = []
    for d, member in enumerate(members):
        probabilities.append(sigmoid(output_bias[d] + sigmoid(a) @ decoder_weights[d]))
        a = a + member * encoder_weights[d]
    return np.array(probabilities)


def nade_probabilities(parameters):
    """Returns the probability of every set in `SETS`."""
    conditionals = np.array([nade_conditionals(parameters, members) for members in SETS])
    return np.where(SETS == 1, conditionals, 1 - conditionals).prod(axis=1)


def test_nade_gives_every_set_its_probability_and_all_sum_to_1(nade_parameters):
    expected = nade_probabilities(nade_parameters)
    assert expected.sum() == pytest.approx(1, abs=1e-12)
    nade = Nade(*nade_parameters)
    # log(epsilon + p) instead of log(p) adds up to an epsilon for each class.
    actual = np.exp(nade.log_prob(SETS))
    np.testing.assert_allclose(actual, expected, rtol=CLASSES * 1e-4)
    assert actual.sum() == pytest.approx(1, abs=1e-4)
    conditionals = np.array([nade_conditionals(nade_parameters, members) for members in SETS])
    logits = np.log(conditionals) - np.log1p(-conditionals)
    np.testing.assert_allclose(nade.conditional_logits(SETS), logits, atol=1e-5)


def test_nade_of_a_batch_is_each_rows_own(nade_parameters):
    hidden, output, *weights = nade_parameters
    shift = np.float32([[[0.0]], [[0.7]]])  # (2, 1, 1), broadcast to a batch (2, 3)
    rows = np.float32([0.0, -1.0, 1.0])[:, None]
    nade = Nade(hidden + shift + rows, output - shift + 0 * rows, *weights)
    assert nade.batch_shape == (2, 3)
    assert nade.event_shape == (CLASSES,)
    members = SETS[[3, 17, 30]]
    log_prob = nade.log_prob(members)
    for i, j in itertools.product(range(2), range(3)):
        own = Nade(hidden + shift[i, 0] + rows[j], output - shift[i, 0], *weights)
        np.testing.assert_allclose(log_prob[i, j], own.log_prob(members[j]), rtol=1e-5)
    assert nade.sample(4, seed=1).shape == (4, 2, 3, CLASSES)


def test_nade_draws_sets_with_their_probabilities(nade_parameters):
    drawn = Nade(*nade_parameters).sample(DRAWS, seed=3).numpy()
    counts = np.bincount(drawn @ 2 ** np.arange(CLASSES)[::-1], minlength=len(SETS))
    probabilities = nade_probabilities(nade_parameters)
    # Rare sets are counted together.
    rare = probabilities * DRAWS < 10
    counts, probabilities = (
        np.append(values[~rare], values[rare].sum()) for values in (counts, probabilities)
    )
    assert len(counts) > 10
    assert chi_square_is_small(counts[probabilities > 0], probabilities[probabilities > 0])
    assert not chi_square_is_small(counts, np.roll(probabilities, 1))  # the test can fail


def test_nade_at_temperature_0_takes_what_is_more_probable_than_not(nade_parameters):
    nade = Nade(*nade_parameters)
    members = np.zeros(CLASSES)
    for d in range(CLASSES):
        members[d] = nade_conditionals(nade_parameters, members)[d] >= 0.5
    for uniforms in (np.zeros(CLASSES), np.full(CLASSES, 0.999)):
        drawn = nade.draw(tf.constant(uniforms, tf.float32), Sampler(temperature=0.0))
        np.testing.assert_array_equal(drawn, members)


def test_nade_at_a_temperature_divides_its_logits(nade_parameters):
    uniforms = tf.random.stateless_uniform([DRAWS, CLASSES], [4, 4])
    hidden, output, *weights = nade_parameters
    rows = tf.repeat(hidden[None], DRAWS, 0), tf.repeat(output[None], DRAWS, 0)
    drawn = Nade(*rows, *weights).draw(uniforms, Sampler(temperature=2.0))
    first = nade_conditionals(nade_parameters, SETS[0])[0]
    logit = math.log(first / (1 - first))
    expected = sigmoid(logit / 2)
    error = math.sqrt(expected * (1 - expected) / DRAWS)
    assert np.mean(drawn[:, 0]) == pytest.approx(expected, abs=4 * error)
    assert abs(expected - first) > 8 * error  # temperature 1 would not pass


# Groove ------------------------------------------------------------------------------------

LOGITS = np.float32([-2.0, 0.3, 1.5])
VELOCITIES = np.float32([0.2, 0.9, 0.5])
OFFSETS = np.float32([-0.5, 0.0, 0.8])


def groove_log_prob(hits, velocities, offsets):
    p = sigmoid(LOGITS)
    bernoulli = np.where(hits == 1, np.log(p + HIT_EPSILON), np.log(1 - p + HIT_EPSILON))
    errors = (velocities - VELOCITIES) ** 2 + (offsets - OFFSETS) ** 2
    return (bernoulli - errors - math.log(math.pi)).sum()  # of two normals with variance 1/2


def test_groove_is_bernoulli_hits_and_normal_velocities_and_offsets():
    groove = Groove(LOGITS, VELOCITIES, OFFSETS)
    normals = tfp.distributions.Normal(np.r_[VELOCITIES, OFFSETS], math.sqrt(0.5))
    hits = tfp.distributions.Bernoulli(logits=LOGITS)
    rng = np.random.default_rng(2)
    for members in itertools.product((0.0, 1.0), repeat=3):
        others = rng.uniform(-1, 1, 6).astype(np.float32)
        value = np.float32([*members, *others])
        expected = groove_log_prob(np.array(members), others[:3], others[3:])
        assert float(groove.log_prob(value)) == pytest.approx(expected, abs=1e-4)
        known = np.sum(hits.log_prob(members)) + np.sum(normals.log_prob(others))
        assert float(groove.log_prob(value)) == pytest.approx(known, abs=1e-4)


def test_groove_draws_hits_and_keeps_velocities_and_offsets():
    drawn = Groove(LOGITS, VELOCITIES, OFFSETS).sample(DRAWS, seed=8).numpy()
    p = sigmoid(LOGITS)
    errors = np.sqrt(p * (1 - p) / DRAWS)
    assert (np.abs(drawn[:, :3].mean(0) - p) < 4 * errors).all()
    correlations = np.corrcoef(drawn[:, :3].T)
    assert np.abs(correlations - np.eye(3)).max() < 0.05  # hits are independent
    np.testing.assert_array_equal(drawn[:, 3:], np.tile([*VELOCITIES, *OFFSETS], (DRAWS, 1)))


# Heads -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FORMATS)
def head(request):
    keras.utils.set_random_seed(6)
    head = make_head(FORMATS[request.param], nade_units=HIDDEN)
    head.kind = request.param
    return head


def parameters_and_events(head, rows=6):
    rng = np.random.default_rng(9)
    parameters = (1.5 * rng.normal(size=(2, rows, head.parameter_size))).astype(np.float32)
    sizes = FORMATS[head.kind].sizes
    if head.kind == "groove":
        events = rng.uniform(-1, 1, (2, rows, 3 * sizes[0])).astype(np.float32)
        events[..., : sizes[0]] = events[..., : sizes[0]] > 0
    elif head.kind == "roll":
        events = rng.integers(0, 2, (2, rows, *sizes)).astype(np.int32)
    else:
        events = np.stack([rng.integers(0, size, (2, rows)) for size in sizes], -1)
        events = events.reshape(2, rows, *head.event_shape).astype(np.int32)
    return parameters, events


def numpy_nll(head, parameters, events):
    """Returns the negative log-likelihood of one step, as the original's loss."""
    if head.kind == "groove":
        logits, velocities, offsets = np.split(parameters, 3)
        hits, given_velocities, given_offsets = np.split(events, 3)
        p = sigmoid(logits)
        log_loss = hits * np.log(p + 1e-7) + (1 - hits) * np.log(1 - p + 1e-7)
        errors = (sigmoid(velocities) - given_velocities) ** 2
        errors += (np.tanh(offsets) - given_offsets) ** 2
        return (errors - log_loss).sum()
    if head.kind == "roll":
        weights = head.encoder_weights.numpy(), head.decoder_weights.numpy()
        p = nade_conditionals((parameters[:HIDDEN], parameters[HIDDEN:], *weights), events)
        return -np.log(np.where(events == 1, p, 1 - p) + NADE_EPSILON).sum()
    pieces = np.split(parameters, np.cumsum(FORMATS[head.kind].sizes)[:-1])
    chosen = np.atleast_1d(events)
    return -sum(log_softmax(piece)[i] for piece, i in zip(pieces, chosen, strict=True))


def test_nll_is_what_numpy_counts_and_what_the_distribution_says(head):
    parameters, events = parameters_and_events(head)
    nll = head.nll(parameters, events).numpy()
    assert nll.shape == events.shape[:2]
    for i, j in np.ndindex(nll.shape):
        expected = numpy_nll(head, parameters[i, j], events[i, j])
        assert nll[i, j] == pytest.approx(expected, rel=1e-5)
    distribution = head.distribution(parameters)
    assert isinstance(distribution, tfp.distributions.Distribution)
    assert distribution.event_shape == head.event_shape
    constant = FORMATS["groove"].sizes[0] * math.log(math.pi) if head.kind == "groove" else 0
    np.testing.assert_allclose(-distribution.log_prob(events), nll + constant, rtol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_distribution_can_be_sampled(kind):
    head = make_head(FORMATS[kind], HIDDEN)
    head.kind = kind
    parameters, events = parameters_and_events(head)
    assert head.distribution(parameters).sample(seed=1).shape == events.shape
    assert head.distribution(parameters).sample(4, seed=1).shape == (4, *events.shape)


def test_the_product_with_a_kernel_is_that_of_the_vectors(head):
    _, events = parameters_and_events(head)
    kernel = np.random.default_rng(1).normal(size=(head.vector_size, 4)).astype(np.float32)
    vectors = head.vector(events, tf.float32)
    np.testing.assert_allclose(head.project(events, kernel), vectors @ kernel, atol=1e-5)
    start = head.start(3)
    assert not np.any(head.vector(start, tf.float32))
    assert not np.any(head.project(start, kernel))


def draws_of(head, parameters, temperature):
    """Returns events drawn `DRAWS` times from the parameters (P,) of one step."""
    uniforms = tf.random.stateless_uniform([DRAWS, head.uniforms], [2, 7])
    rows = tf.repeat(parameters[None], DRAWS, axis=0)
    return head.choose(rows, uniforms, Sampler(temperature)).numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_categorical_draws_have_the_probabilities_of_their_temperature(temperature):
    for kind in ("categorical", "multi_categorical"):
        head = make_head(FORMATS[kind], HIDDEN)
        head.kind = kind
        parameters = parameters_and_events(head)[0][0, 0] / 2
        drawn = draws_of(head, parameters, temperature).reshape(DRAWS, -1)
        sizes = FORMATS[kind].sizes
        for column, piece in zip(drawn.T, np.split(parameters, np.cumsum(sizes)[:-1]), strict=True):
            counts = np.bincount(column, minlength=len(piece))
            logits = piece / temperature
            assert chi_square_is_small(counts, np.exp(log_softmax(logits)))
            logits[0] += 0.5  # the test can fail
            assert not chi_square_is_small(counts, np.exp(log_softmax(logits)))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_hits_of_a_groove_are_drawn_at_their_temperature_and_the_rest_is_not_drawn(temperature):
    head = make_head(FORMATS["groove"], HIDDEN)
    parameters = np.r_[LOGITS, -1.0, 0.0, 1.0, 0.5, -0.5, 2.0].astype(np.float32)
    drawn = draws_of(head, parameters, temperature)
    p = sigmoid(LOGITS / temperature)
    assert (np.abs(drawn[:, :3].mean(0) - p) < 4 * np.sqrt(p * (1 - p) / DRAWS)).all()
    rest = [*sigmoid(parameters[3:6]), *np.tanh(parameters[6:])]
    np.testing.assert_allclose(drawn[:, 3:], np.tile(rest, (DRAWS, 1)), atol=1e-6)


def test_temperature_0_takes_the_most_probable_event_whatever_is_drawn(head):
    parameters, _ = parameters_and_events(head)
    rows = parameters.reshape(-1, head.parameter_size)
    low, high = (
        head.choose(rows, tf.fill([len(rows), head.uniforms], u), Sampler(0.0)).numpy()
        for u in (0.0, 0.999)
    )
    np.testing.assert_array_equal(low, high)
    for sampler in (Sampler(top_k=1), Sampler(top_p=1e-6), Sampler(min_p=1.0)):
        drawn = head.choose(rows, tf.fill([len(rows), head.uniforms], 0.999), sampler)
        np.testing.assert_array_equal(drawn, low)
    sizes = FORMATS[head.kind].sizes
    if head.kind == "groove":
        np.testing.assert_array_equal(low[:, : sizes[0]], rows[:, : sizes[0]] >= 0)
    elif head.kind == "roll":
        # Each class in turn, given those before it.
        p = head.distribution(rows).conditional_logits(low).numpy()
        np.testing.assert_array_equal(low, p >= 0)
    else:
        pieces = np.split(rows, np.cumsum(sizes)[:-1], axis=-1)
        best = np.stack([piece.argmax(-1) for piece in pieces], -1).reshape(low.shape)
        np.testing.assert_array_equal(low, best)


def test_measures_of_a_set_count_hits_that_are_found_and_guesses_that_are_right():
    head = make_head(FORMATS["roll"], HIDDEN)
    head.kind = "roll"
    parameters, events = parameters_and_events(head, rows=20)
    measures = head.measures(parameters, events)
    guessed = head.distribution(parameters).conditional_logits(events).numpy() >= 0
    hits = events == 1
    found = (guessed & hits).sum()
    means = {
        name: np.sum(value * weight) / np.sum(weight) for name, (value, weight) in measures.items()
    }
    assert means == {
        "accuracy": pytest.approx((guessed == hits).all(-1).mean()),
        "recall": pytest.approx(found / hits.sum()),
        "precision": pytest.approx(found / guessed.sum()),
    }


# The model's own ---------------------------------------------------------------------------


def test_prior_and_posterior_are_normal_distributions_and_their_divergence_is_the_loss_term():
    keras.utils.set_random_seed(2)
    config = get_config("nade-drums_2bar_reduced_tiny")
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    for layer in (model.mu, model.sigma):  # away from the start, where all are near N(0, ln 2)
        layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, [1, 1], stddev=0.5))
    events = np.random.default_rng(0).integers(0, 2, (3, model.length, 9)).astype(np.int32)
    batch = {"events": events, "length": np.full(3, model.length, np.int32)}
    posterior, prior = model.encode(**batch), model.prior()
    mu, sigma = posterior.mean().numpy(), posterior.stddev().numpy()
    z = np.random.default_rng(1).normal(size=mu.shape).astype(np.float32)

    def normal(z, mu, sigma):
        return (-0.5 * ((z - mu) / sigma) ** 2 - np.log(sigma * math.sqrt(2 * math.pi))).sum(-1)

    np.testing.assert_allclose(posterior.log_prob(z), normal(z, mu, sigma), rtol=1e-4)
    np.testing.assert_allclose(prior.log_prob(z), normal(z, 0, 1), rtol=1e-5)
    outputs = model({**batch, "noise": z})
    terms = model.loss_terms(batch, outputs)
    kl = 0.5 * (sigma**2 + mu**2 - 1 - 2 * np.log(sigma)).sum(-1)
    assert kl.min() > 1
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-4)
    likelihood = model.head.distribution(outputs["logits"]).log_prob(events)
    np.testing.assert_allclose(terms["nll"], -np.sum(likelihood, axis=1), rtol=1e-5)
