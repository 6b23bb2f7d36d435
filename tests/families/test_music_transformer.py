"""Music Transformer: the network, its training and its evaluation."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from watched_rows import WatchedRows

from magenta_lite.config import GenerateConfig, config_names, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.music_transformer import harmony_evaluation
from magenta_lite.families.music_transformer.config import (
    MusicTransformerConfig,
    NextTokenObjective,
)
from magenta_lite.families.music_transformer.evaluation import MEANINGS
from magenta_lite.families.music_transformer.model import MusicTransformer
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.modeling import decoding, gap_evaluation
from magenta_lite.modeling.chunked_decoding import generate_tokens
from magenta_lite.modeling.sampling import Sampler, output_seeds, step_uniforms
from magenta_lite.training.trainer import compile_model

TINY = get_config("music_transformer_tiny")
FREE = TokenRules(40, never=(), pitch=(3, 30))
PARAMETERS = {
    "music_transformer": 12_249_600,
    "t_rel_len2048_h384_att512_fs1024_n8_dropout15": 16_253_184,
    "t_rel_len2048_h384_att512_fs1024_n10_dropout30": 20_256_768,
    "t_rel_len2048_h512_att512_fs1024_n6_dropout10": 16_068_608,
    "t_rel_len2048_h512_att512_fs1024_n8_dropout10": 21_318_656,
    "t_rel_len2048_dropout15_tiny": 6_642_432,
    "t_rel_len1024_h384_att512_fs1024_n2_dropout15": 10_676_736,
}


def network(rules=FREE, **sizes):
    keras.utils.set_random_seed(1)
    small = {
        "layers": 2,
        "hidden_size": 16,
        "key_size": 24,
        "filter_size": 32,
        "heads": 2,
        "max_relative_position": 200,
        "positions": 256,
        "block_length": 16,
    }
    model = MusicTransformer(rules, MusicTransformerConfig(**small | sizes), NextTokenObjective())
    for weight in model.weights:  # no bias is zero, no distance unimportant
        weight.assign(weight + np.random.default_rng(2).normal(0, 0.2, weight.shape))
    return model


def tunes(converter, count=24, length=300):
    """Rows of scales, as a converter would give them."""
    codec, rng = converter.codec, np.random.default_rng(0)
    events = np.zeros((count, converter.window_steps), np.uint16)
    for row in events:
        pitch, ids = int(rng.integers(30, 50)), [codec.velocity_id + 12]
        while len(ids) < length:
            pitch += int(rng.choice([-2, -1, 1, 2]))
            ids += [codec.note_on[0] + pitch, codec.shift[0] + 24, codec.note_off[0] + pitch]
        row[:length] = ids[:length]
    return Examples(events, np.full(count, length, np.int32), ["a"] * count)


# The network -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_sizes_are_the_originals(name, count):
    config = get_config(name, original=True)
    model = build_model(config, build_converter(config.converter))
    assert model.count_params() == count


@pytest.mark.parametrize(
    "sizes",
    [
        {"max_relative_position": 200},
        {"max_relative_position": 700},
        {"share_relative_table": True},
        {"attention": "relative_local"},
        {"sines": False},
        {"attention": "absolute"},
        {"attention": "learned", "positions": 600},
        {"relative_pitch": True, "voices": 3},
        {"relative_pitch": True, "attention": "relative_local"},
    ],
    ids=lambda sizes: "-".join(map(str, sizes.values())),
)
def test_cached_logits_equal_the_full_pass_on_512_tokens(sizes):
    model = network(**{"positions": 512} | sizes)
    ids = np.random.default_rng(3).integers(1, 40, size=(2, 512)).astype(np.int32)
    wanted = model({"events": tf.constant(ids)})
    size = model.attention_span if model.sizes.attention == "relative_local" else 512
    logits = _steps(model, tf.constant(ids), size)
    np.testing.assert_allclose(logits, wanted, atol=1e-4)


def test_a_window_that_rolls_is_attention_to_the_last_tokens():
    model = network(layers=1, positions=64, max_relative_position=64)
    ids = np.random.default_rng(3).integers(1, 40, size=(1, 150)).astype(np.int32)
    logits = _steps(model, tf.constant(ids), 64)
    # One layer sees nothing but embeddings, so what is out of reach can be hidden.
    signal = model.embed_shifted(tf.constant(ids))
    layer = model.decoder[0]
    far = np.subtract.outer(np.arange(150), np.arange(150))
    bias = tf.constant(np.where((far < 0) | (far >= 64), -1e9, 0.0), tf.float32)
    np.testing.assert_allclose(logits, model.logits(layer(signal, bias)), atol=1e-4)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"sines": False},
        {"attention": "learned"},
        {"attention": "relative_local"},
        {"relative_pitch": True, "voices": 4},
    ],
    ids=str,
)
def test_beyond_its_context_a_model_goes_on_as_if_the_last_half_were_all(sizes):
    model = network(positions=64, **sizes)
    tokens, _ = decoding.sample(model, [5], 2, 150, 3, Sampler(temperature=0.5))
    uniforms = step_uniforms(output_seeds(3, 2), 150)
    sampler, differing = Sampler(temperature=0.5), 0
    for start, first, last in ((0, 1, 64), (32, 64, 96), (64, 96, 128), (96, 128, 150)):
        logits = model({"events": tokens[:, start:last]})[:, first - start :]
        drawn, _ = sampler.draw(logits, tf.transpose(uniforms[first:last]))
        differing += int(np.sum(drawn != tokens[:, first:last]))
    assert differing <= 1  # a number may lie between two roundings
    asked = MusicTransformerOptions(num_outputs=2, seed=3, temperature=0.5)
    np.testing.assert_array_equal(tokens, generate_tokens(model, [5], asked, 150))


def test_a_model_may_have_as_much_in_sight_as_in_its_training():
    small = ["model.layers=1", "model.hidden_size=16", "model.key_size=16", "model.heads=2"]
    config = get_config("music_transformer_jsb", [*small, "converter.crop=64"])
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    assert (model.context_length, model.attention_span, model.max_length) == (64, 64, 4096)
    greedy = MusicTransformerOptions(num_outputs=2, temperature=0.0)
    tokens = generate_tokens(model, [5], greedy, 96)
    logits = model({"events": tokens[:, 32:]}).numpy()[:, 32:, 2:]
    np.testing.assert_array_equal(logits.argmax(axis=-1) + 2, tokens[:, 64:])
    names = ("music_transformer_jsb", "music_transformer_jsb_baseline", "music_transformer_16")
    for name in names:
        assert get_config(name).generate.trained_context
        assert not get_config(name, original=True).generate.trained_context
    former = dataclasses.replace(config, generate=GenerateConfig())
    assert build_model(former, converter).context_length == 1024


@tf.function
def _steps(model, ids, size):
    rows, length = ids.shape
    heads = model.sizes.heads
    depth = model.decoder[0].key_depth
    keys = tuple(tf.zeros([rows * heads, size, depth]) for _ in model.decoder)
    values = tuple(
        tf.zeros([rows * heads, size, model.sizes.hidden_size // heads]) for _ in model.decoder
    )
    weights = model.step_weights()
    shape = [rows, model.rules.size]
    out = tf.TensorArray(tf.float32, size=length, element_shape=shape)

    def one(t, keys, values, out):
        last = tf.where(t > 0, ids[:, tf.maximum(t - 1, 0)], 0)
        logits, keys, values = model.step(weights, last, t, keys, values)
        return t + 1, keys, values, out.write(t, logits)

    out = tf.while_loop(lambda t, *_: t < length, one, (0, keys, values, out))[-1]
    return tf.transpose(out.stack(), [1, 0, 2])


def test_later_tokens_do_not_change_earlier_logits():
    model = network()
    ids = np.random.default_rng(4).integers(1, 40, size=(1, 60)).astype(np.int32)
    changed = ids.copy()
    changed[0, 30:] = 7
    both = [model({"events": tf.constant(x)}).numpy() for x in (ids, changed)]
    np.testing.assert_allclose(both[0][0, :31], both[1][0, :31], atol=1e-5)
    assert np.abs(both[0][0, 32:] - both[1][0, 32:]).max() > 1e-3


def test_without_sines_all_places_are_alike():
    """What a token is told depends on how far away others are, and not on where it stands."""
    ids = np.random.default_rng(4).integers(1, 40, size=(1, 40)).astype(np.int32)
    later = np.pad(ids, [[0, 0], [30, 0]])  # the padding is hidden by the bias below
    hidden = np.triu(np.ones((70, 70), bool), 1) | (np.arange(70) < 31)
    bias = tf.constant(np.where(hidden, -1e9, 0.0), tf.float32)
    for sines in (False, True):
        model = network(sines=sines)
        x = model.embed_shifted(tf.constant(later))
        for layer in model.decoder:
            x = layer(x, bias)
        shifted = model.embed_shifted(tf.constant(ids))[:, 1:]
        for layer in model.decoder:
            shifted = layer(shifted)
        alike = np.allclose(model.logits(x)[:, 31:], model.logits(shifted), atol=1e-4)
        assert alike is not sines


def test_gradients_without_sines_are_as_large_as_with_them():
    """Before the first token there is nothing, and to normalize zeros has a huge gradient."""
    ids = np.random.default_rng(4).integers(2, 300, size=(2, 40)).astype(np.int32)
    batch, norms = {"events": tf.constant(ids)}, []
    for sines in (True, False):
        keras.utils.set_random_seed(0)
        sizes = dataclasses.replace(TINY.model, sines=sines)
        config = dataclasses.replace(TINY, model=sizes)
        model = build_model(config, build_converter(config.converter))
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=batch, y_pred=model(batch))
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
        norms.append(float(tf.linalg.global_norm(gradients)))
    assert norms[1] == pytest.approx(norms[0], rel=0.5)


def test_sines_are_left_out_where_distances_tell_positions_only():
    with pytest.raises(UserError, match=r"model\.sines=false leaves model\.attention=absolute"):
        MusicTransformerConfig(attention="absolute", sines=False)
    config = get_config("music_transformer_melody_tiny", ["model.sines=false"])
    with pytest.raises(UserError, match="leaves melodies without positions"):
        build_model(config, build_converter(config.converter))


# Training --------------------------------------------------------------------------------------


def test_it_learns_what_its_optimiser_and_precision_may_be():
    for settings in ([], ["train.optimizer=adafactor", "train.learning_rate=3e-2"]):
        config = get_config("music_transformer_tiny", ["train.warmup_steps=5", *settings])
        converter = build_converter(config.converter)
        keras.utils.set_random_seed(0)
        model = build_model(config, converter, "mixed_bfloat16" if settings else "float32")
        compile_model(model, config.train)
        batches = batches_for(
            converter,
            tunes(converter),
            batch_size=8,
            seed=0,
            random_inputs=model.random_inputs(),
            transpose=config.data.transpose,
        )
        history = model.fit(batches.dataset(), steps_per_epoch=8, epochs=2, verbose=0)
        losses = history.history["loss"]
        assert losses[-1] < 0.85 * losses[0]


def test_dropout_is_a_function_of_the_example():
    config = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, dropout=0.5))
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    batches = batches_for(
        converter, tunes(converter), batch_size=4, seed=0, random_inputs=model.random_inputs()
    ).dataset()
    batch = next(iter(batches))
    whole = model(batch, training=True)
    again = model(batch, training=True)
    half = model({name: x[2:] for name, x in batch.items()}, training=True)
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_allclose(whole[2:], half, atol=1e-5)
    assert np.abs(whole - model(batch)).max() > 0.1


def test_recomputing_gives_the_same_gradient():
    converter = build_converter(TINY.converter)
    keras.utils.set_random_seed(0)
    model = build_model(TINY, converter)
    dataset = batches_for(
        converter, tunes(converter), batch_size=4, seed=0, random_inputs=model.random_inputs()
    )
    batch = next(iter(dataset.dataset()))
    gradients = []
    for recompute in (False, True):
        for layer in model.decoder:
            layer.recompute = recompute

        @tf.function
        def gradient():
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x=batch, y_pred=model(batch, training=True))
            return tape.gradient(loss, [w.value for w in model.trainable_variables])

        gradients.append([tf.convert_to_tensor(g).numpy() for g in gradient()])
    for kept, computed_again in zip(*gradients, strict=True):
        np.testing.assert_allclose(kept, computed_again, atol=1e-5)


def test_a_crop_may_begin_anywhere_and_held_out_ones_are_the_piece():
    converter = build_converter(dataclasses.replace(TINY.converter, crop=50))
    events = np.zeros((2, 100), np.uint16)
    events[0] = np.arange(100) + 2
    events[1, :70] = np.arange(50, 120) + 2
    examples = Examples(events, np.array([100, 70], np.int32), ["a", "a"])
    firsts = set()
    batches = iter(batches_for(converter, examples, batch_size=16, seed=0).dataset())
    for _ in range(60):
        batch = next(batches)
        for row, length in zip(batch["events"].numpy(), batch["length"].numpy(), strict=True):
            assert length == 50
            np.testing.assert_array_equal(np.diff(row), 1)
            firsts.add(int(row[0]) - 2)
    assert firsts == set(range(71))  # up to the last place where 50 are left
    held = next(
        iter(batches_for(converter, examples, batch_size=2, seed=0, shuffle=False).dataset())
    )
    np.testing.assert_array_equal(held["events"].numpy().ravel(), np.arange(100) + 2)


def test_evaluation_counts_every_token_once():
    converter = build_converter(TINY.converter)
    model = build_model(TINY, converter)
    examples = tunes(converter, count=11, length=300)
    rows = WatchedRows(examples.events)
    numbers = model.measure(dataclasses.replace(examples, events=rows), 0)
    assert rows.most == 8  # the split may not fit into memory
    of_gaps = gap_evaluation.MEANINGS | harmony_evaluation.MEANINGS
    assert numbers.keys() == MEANINGS.keys() - of_gaps.keys()
    assert numbers["tokens"] == 11 * 256  # of each row the first crop
    ids = tf.constant(examples.events[:, :256], tf.int32)
    nll = -float(tf.reduce_sum(model.log_likelihood(ids))) / numbers["tokens"]
    assert numbers["nll_per_token"] == pytest.approx(nll, rel=1e-4)
    assert numbers["nll_per_second"] * numbers["seconds"] == pytest.approx(
        nll * numbers["tokens"], rel=1e-4
    )


def test_every_config_of_the_family_builds_its_converter():
    names = [n for n in config_names() if get_config(n).family == "music_transformer"]
    assert len(names) >= 16
    for name in names:
        config = get_config(name)
        size = 55 if config.converter.kind == "chorale" else 310
        size += 4 * bool(getattr(config.converter, "infill", 0))
        assert build_converter(config.converter).rules.size == size
