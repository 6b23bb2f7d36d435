"""The VQ-VAE: sizes, convolutions, lengths, codebooks by hand, options, learning, replicas."""

import dataclasses
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from processes import run
from watched_rows import WatchedRows
from weight_counts import vqvae_weights

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import Batches
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.vqvae import codebook, losses
from magenta_lite.families.vqvae.codebook import Choice, Codebook
from magenta_lite.families.vqvae.config import VQVAEConfig, VQVAEObjective
from magenta_lite.families.vqvae.convolutions import Decoder, Encoder, Snake
from magenta_lite.families.vqvae.evaluation import MEANINGS
from magenta_lite.families.vqvae.model import VQVAE
from magenta_lite.families.vqvae.quantizer import Quantizer
from magenta_lite.training.trainer import compile_model

PROGRAM = Path(__file__).with_name("vqvae_replicas.py")
# Convolutions and codebooks, as published or by the fact sheet's formula.
PRESETS = {
    "vqvae_tiny": (8_882, 512),
    "vqvae_mini": (210_050, 16_384),
    "vqvae_small": (586_050, 131_072),
    "jukebox_vqvae": (1_485_763, 393_216),
    "rvqvae_tiny": (4_233, 768),
    "rvqvae_mini": (164_001, 16_384),
}
SMALL = VQVAEConfig((1, 1), (2, 2), code_width=4, codes=8, width=4, depth=1)
SHORT = VQVAEObjective(
    fft_sizes=(128,), fft_hops=(32,), fft_windows=(96,), stft=(128, 32, 96), linf_count=20
)


def small(objective=SHORT, **options):
    keras.utils.set_random_seed(1)
    return VQVAE(dataclasses.replace(SMALL, **options), objective, crop=256, sample_rate=8000)


def sounds(count: int, samples: int = 256, channels: int = 1) -> np.ndarray:
    """Returns float32 (count, samples, channels): sines of many pitches, and some noise."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 6, (count, 1, channels)) + np.arange(samples)[:, None] * rng.uniform(
        0.05, 0.5, (count, 1, channels)
    )
    return (0.5 * np.sin(phase) + rng.normal(0, 0.02, phase.shape)).astype(np.float32)


def batches(model, clips, batch_size: int = 4):
    lengths = np.full(len(clips), clips.shape[1], np.int32)
    return Batches(
        clips, lengths, batch_size, seed=0, random_inputs=model.random_inputs()
    ).dataset()


# Sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_published_number_of_weights(name):
    config = get_config(name)
    convolutions, codebooks = PRESETS[name]
    counts = vqvae_weights(config.model)
    assert counts == {"convolutions": convolutions, "codebooks": codebooks}
    # Every level has codes enough for its codebook in a step, or revives codes with a new start.
    tokens = config.train.batch_size * config.converter.crop / config.model.hop_lengths[-1]
    assert tokens >= 4 * config.model.codes
    if convolutions < 1e6 and not name.endswith("small"):
        check_counts(build_model(config, build_converter(config.converter)))


def check_counts(model):
    counts = vqvae_weights(model.sizes)
    trained = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trained == counts["convolutions"]
    books = [book for quantizer in model.quantizers for book in quantizer.codebooks]
    assert sum(np.prod(book.vectors.shape) for book in books) == counts["codebooks"]


def test_hop_lengths_and_dilations_are_the_published_ones():
    published = get_config("jukebox_vqvae").model
    assert published.hop_lengths == (8, 32, 128)
    assert get_config("vqvae_small").model.hop_lengths == (32, 256)
    assert published.dilations(0) == (1, 3, 9, 27, 81, 243, 729, 2187)
    assert published.dilations(1) == (1, 3, 9, 27)
    assert VQVAEConfig(depth=5, dilation_cycle=2).dilations(2) == (1, 3, 1, 3, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (2, 3)}, r"model.strides=\[2, 3\] must be even"),
        ({"downs": (1,)}, r"model.strides=\[2, 2\] needs 1 numbers"),
        ({"downs": ()}, "must have 1 to 8 levels"),
        ({"multipliers": (1, 0)}, "must be at least 1 each"),
        ({"codes": 0}, "model.codes=0 must be at least 1"),
        ({"codebook_decay": 1.0}, r"must lie in \[0, 1\)"),
        ({"residual_factor": 0.1}, "leaves no channel of model.width=4"),
        ({"quantizers": 2, "factorized_width": 2}, "set one of them"),
        ({"quantizer_dropout": 0.5}, "needs model.quantizers above 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **changes)


def test_clips_that_do_not_fit_are_refused_when_a_model_is_built():
    for change, message in (
        ("converter.crop=8200", r"multiple of 32.*--set converter.crop=8192"),
        ("converter.crop=512", r"at least 1025.*--set converter.crop=1056"),
        ("converter.channels=2", r"converter.channels=2 and model.channels=1 differ"),
    ):
        config = get_config("vqvae_mini", [change])
        with pytest.raises(UserError, match=message):
            build_model(config, build_converter(config.converter))


# Convolutions ------------------------------------------------------------------------------------


def pytorch_conv(x, layer, stride: int = 1, dilation: int = 1, padding: int = 0):
    """PyTorch's Conv1d on x (T, C), by its definition."""
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    x = np.pad(x, [[padding, padding], [0, 0]])
    span = dilation * (len(kernel) - 1) + 1
    starts = range(0, len(x) - span + 1, stride)
    taps = range(len(kernel))
    return np.stack([sum(x[t + i * dilation] @ kernel[i] for i in taps) for t in starts]) + bias


def pytorch_conv_transpose(x, layer, stride: int, padding: int):
    """PyTorch's ConvTranspose1d on x (T, C)."""
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    out = np.zeros(((len(x) - 1) * stride + len(kernel), kernel.shape[1]))
    for t, row in enumerate(x):
        for i in range(len(kernel)):
            out[t * stride + i] += kernel[i] @ row
    return out[padding : len(out) - padding] + bias


def by_definition(block, x, encodes: bool):
    """A level block as the original has it, on x (T, C)."""
    stride, dilations = block.sizes.stride, block.sizes.dilations

    def stage(x, residuals):
        for residual, dilation in zip(residuals, dilations, strict=True):
            inside = pytorch_conv(
                np.maximum(x, 0), residual.dilated, dilation=dilation, padding=dilation
            )
            x = x + pytorch_conv(np.maximum(inside, 0), residual.mixing)
        return x

    if not encodes:
        x = pytorch_conv(x, block.enter, padding=1)
        for residuals, lengthen in zip(block.residuals, block.lengthen, strict=True):
            x = pytorch_conv_transpose(stage(x, residuals), lengthen, stride, stride // 2)
        return x
    for shorten, residuals in zip(block.shorten, block.residuals, strict=True):
        x = stage(pytorch_conv(x, shorten, stride, padding=stride // 2), residuals)
    return pytorch_conv(x, block.leave, padding=1)


def test_stacks_are_those_of_pytorchs_operators():
    sizes = VQVAEConfig((2, 1), (2, 4), 3, 8, 4, 3, dilation_growth=2, residual_factor=0.5)
    encoder, decoder = Encoder(sizes, 1), Decoder(sizes, 1)
    x = np.random.default_rng(0).normal(size=(48, 1))
    codes = encoder(tf.constant(x[None], tf.float32))
    expected = x
    for block in encoder.blocks:
        expected = by_definition(block, expected, encodes=True)
    assert codes.shape == (1, 3, 3)
    np.testing.assert_allclose(codes[0], expected, atol=1e-5)
    assert [r.dilation for r in decoder.blocks[0].residuals[0]] == [4, 2, 1]
    for block in reversed(decoder.blocks):
        expected = by_definition(block, expected, encodes=False)
    expected = pytorch_conv(expected, decoder.sound, padding=1)
    np.testing.assert_allclose(decoder(codes)[0], expected, atol=1e-5)


def test_first_weights_are_uniform_as_pytorchs():
    keras.utils.set_random_seed(0)
    block = Encoder(VQVAEConfig((2,), (2,), 8, 8, 64, 1), 0).blocks[0]
    for layer, fan_in in ((block.shorten[1], 64 * 4), (block.residuals[0][0].dilated, 64 * 3)):
        limit = fan_in**-0.5
        for weight in (layer.kernel, layer.bias):
            values = np.abs(weight.numpy())
            assert values.max() <= limit
            assert values.mean() == pytest.approx(limit / 2, rel=0.15)


def test_lengths_of_codes_and_sound():
    model = small(downs=(2, 1), strides=(2, 4))
    assert model.hop_lengths == (4, 16)
    for samples in (16, 32, 48, 112, 160):
        codes = model.encode(sounds(2, samples))
        assert [each.shape for each in codes] == [(2, samples // 4), (2, samples // 16)]
        for sound in model.reconstruct(sounds(2, samples)):
            assert sound.shape == (2, samples, 1)
    for samples, near in ((100, 96), (1, 16), (105, 112)):
        with pytest.raises(UserError, match=rf"^{samples} samples .* multiple of 16, e.g. {near}$"):
            model.encode(sounds(1, samples))


def test_integers_are_16_bit_sound():
    model, clips = small(), sounds(2)
    integers = np.round(clips * 2**15).astype(np.int16)
    for a, b in zip(model.encode(integers), model.encode(integers / 2**15), strict=True):
        np.testing.assert_array_equal(a, b)


# Codebooks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_a_step_of_a_codebook_is_the_one_calculated_by_hand(reset):
    """Three codes in one dimension: two rows of 1 and 1.2, one of -1; nothing near 9."""
    book = Codebook(3, 1, decay=0.5, threshold=1.0, reset_restarted=reset)
    book.begin_with(np.array([[1.0], [-2.0], [9.0]], np.float32), 1.0)
    x = tf.constant([[[1.0], [1.2], [-1.0]]])
    choice = Choice(tf.constant([[2.0, 1.0, 0.0]]))  # the last row comes first
    out = book(x, training=True, choices=(choice, choice))
    np.testing.assert_array_equal(out.codes, [[0, 0, 1]])
    np.testing.assert_allclose(out.vectors, [[[1.0], [1.0], [-2.0]]])  # of the old codebook
    # hits: .5 + .5 * (2, 1, 0); sums: .5 * old + .5 * (2.2, -1, 0). Code 2 becomes row 0.
    dead = (1.0, 1.0) if reset else (0.5, 4.5)
    np.testing.assert_allclose(book.hits, [1.5, 1.0, dead[0]])
    np.testing.assert_allclose(book.sums[:, 0], [1.6, -1.5, dead[1]])
    np.testing.assert_allclose(book.vectors[:, 0], [1.6 / 1.5, -1.5, 1.0], rtol=1e-6)
    assert float(out.statistics.alive) == 2
    assert float(out.statistics.used) == 2


def tf32(x):
    """Rounds to the 11 bits of TF32."""
    bits = tf.bitcast(x, tf.uint32) + tf.constant(0x1000, tf.uint32)
    return tf.bitcast(tf.bitwise.bitwise_and(bits, tf.constant(0xFFFFE000, tf.uint32)), tf.float32)


def test_gpus_find_the_nearest_vectors_in_spite_of_their_rounding(monkeypatch):
    rng = np.random.default_rng(0)
    rows, vectors = ((5 + rng.normal(size=(n, 16))).astype(np.float32) for n in (2048, 512))
    exact = ((rows[:, None].astype(np.float64) - vectors) ** 2).sum(axis=-1)

    def product(rows, vectors):
        return tf.matmul(tf32(rows), tf32(vectors), transpose_b=True)

    monkeypatch.setattr(codebook, "_product", product)
    rounded, _ = codebook.nearest(tf.constant(rows), tf.constant(vectors))
    assert np.mean(rounded != exact.argmin(axis=1)) > 0.01
    monkeypatch.setattr(codebook, "on_gpu", lambda: True)
    codes, distances = codebook.nearest(tf.constant(rows), tf.constant(vectors))
    np.testing.assert_array_equal(codes, exact.argmin(axis=1))
    np.testing.assert_allclose(distances, exact.min(axis=1), atol=1e-3)


def test_the_first_codebook_of_k_means_is_nearer_to_the_rows():
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 100, 3)).astype(np.float32))
    fits = []
    for rounds in (0, 10):
        quantizer = Quantizer(VQVAEConfig((1,), (2,), 3, 20, k_means_steps=rounds))
        seeds = tf.constant([[i, 5] for i in range(4)])
        choices = quantizer.draw_choices(x.shape, seeds, 0)
        out = quantizer(x, training=True, choices=choices)
        fits.append(float(out.statistics.fit))
    assert fits[1] < 0.8 * fits[0]


def test_rows_are_drawn_without_repeating_and_by_the_seeds():
    quantizer = Quantizer(VQVAEConfig((1,), (2,), 1, 64, revival_threshold=0.0))
    x = tf.reshape(tf.range(400, dtype=tf.float32), [4, 100, 1])

    def first(seed, place=0):
        quantizer.codebooks[0].ready.assign(0.0)
        seeds = tf.constant([[i, seed] for i in range(4)])
        quantizer(x, training=True, choices=quantizer.draw_choices(x.shape, seeds, place))
        return np.round(quantizer.codebooks[0].vectors.numpy()[:, 0])

    assert len(set(first(1))) == 64
    np.testing.assert_array_equal(first(1), first(1))
    assert len({tuple(first(1)), tuple(first(2)), tuple(first(1, place=1))}) == 3
    # All four examples give some.
    assert set(first(1) // 100) == {0, 1, 2, 3}


# Options -----------------------------------------------------------------------------------------


def test_snake_is_its_formula():
    snake = Snake(2)
    snake.alpha.assign([1.0, 3.0])
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(1, 6, 2)
    expected = x + np.sin([1.0, 3.0] * x) ** 2 / [1.0, 3.0]
    np.testing.assert_allclose(snake(x), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    """A model of three quantisers, its clips, and the history of its training."""
    model = small(downs=(1,), strides=(2,), width=16, codes=32, quantizers=3, quantizer_dropout=0.5)
    config, clips = get_config("vqvae_tiny", ["train.warmup_steps=5"]), sounds(16)
    compile_model(model, dataclasses.replace(config.train, learning_rate=3e-3))
    model.measure_bandwidth(clips)
    fitted = model.fit(batches(model, clips, 8), steps_per_epoch=40, epochs=3, verbose=0)
    return model, clips, fitted.history


def test_it_learns_sines_and_comes_back_from_a_file(trained, tmp_path):
    model, clips, history = trained
    assert history["spectral_convergence"][-1] < 0.3 < history["spectral_convergence"][0]
    assert history["alive_0"][-1] > 0.9
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    for a, b in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(loaded.encode(clips)[0], model.encode(clips)[0])


def test_evaluation_measures_what_comes_back(trained):
    model, clips, _ = trained
    clips = clips[:15]
    rows = WatchedRows(clips)
    numbers = model.measure(Examples(rows, np.full(15, 256, np.int32), None), 0)
    assert rows.most == 4  # the split may not fit into memory
    assert set(numbers) <= set(MEANINGS)
    assert numbers["examples"] == 15
    codes = model.encode(clips)[0].numpy()
    back = model.decode(codes, 0)
    ratios = []
    for x, y in zip(clips, back.numpy(), strict=True):
        target = x * np.sum(x * y) / np.sum(x * x)
        ratios.append(10 * np.log10(np.sum(target**2) / np.sum((target - y) ** 2)))
    assert numbers["si_sdr_db_0"] == pytest.approx(np.mean(ratios), abs=1e-3)
    spectra = [losses.spectrum(tf.constant(x), SHORT.stft) for x in (clips, back)]
    expected = 20 * np.log10(np.mean(losses.convergence(*spectra)))
    assert numbers["spectral_convergence_db_0"] == pytest.approx(expected, abs=1e-3)
    used = np.mean([len(np.unique(codes[..., i])) / 32 for i in range(3)])
    assert numbers["codes_used_0"] == pytest.approx(used)
    assert 0 < numbers["bits_per_second_0"] <= 3 * 5 * 8000 / 2


def test_snake_and_factorised_codes_learn_a_step():
    options = {"snake": True, "factorized_width": 2, "k_means_steps": 2}
    objective = dataclasses.replace(SHORT, log_mel=1.0, spectral=0.5)
    model, clips = small(objective, downs=(1,), strides=(2,), **options), sounds(4)
    check_counts(model)
    model.measure_bandwidth(clips)
    batch = {"events": tf.constant(clips), "codebook": tf.constant([[i, 1] for i in range(4)])}
    weights, total = [weight.value for weight in model.trainable_weights], []
    for rate in (0.01, 0.0):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=batch, y_pred=model(batch, training=True))
        gradients = tape.gradient(loss, weights)
        assert all(np.any(gradient != 0) for gradient in gradients)
        norm = tf.linalg.global_norm(gradients)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.assign_sub(rate * gradient / norm)
        total.append(float(loss))
    assert total[1] < total[0]
    lengths = np.linalg.norm(model.quantizers[0].codebooks[0].vectors.numpy(), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)
    # Sound that comes back is told by the codes alone.
    codes = model.encode(clips)[0]
    assert codes.shape == (4, 128)
    np.testing.assert_allclose(
        model.decode(codes, 0), model({"events": clips})["sound"][0], atol=1e-5
    )


def test_each_quantiser_tells_what_those_before_it_leave_over(trained):
    model, clips, _ = trained
    quantizer, codes = model.quantizers[0], model.encode(clips)[0]
    assert codes.shape == (16, 128, 3)
    x = model.encoders[0](clips)
    errors, told = [], tf.zeros_like(x)
    for i, book in enumerate(quantizer.codebooks):
        left = tf.reshape(x - told, [-1, 1, 4])
        nearest = tf.argmin(
            tf.reduce_sum((left - book.vectors) ** 2, axis=2), axis=1, output_type=tf.int32
        )
        assert np.mean(codes[..., i] == tf.reshape(nearest, [16, 128])) > 0.99  # but for rounding
        told += book.look_up(codes[..., i])
        errors.append(float(tf.reduce_mean(tf.square(x - told))))
        np.testing.assert_allclose(quantizer.look_up(codes[..., : i + 1]), told, atol=1e-6)
    assert errors[0] > errors[1] > errors[2]


def test_examples_that_are_told_by_few_quantisers_teach_the_others_nothing():
    quantizer = Quantizer(VQVAEConfig((1,), (2,), 2, 8, quantizers=3))
    for book in quantizer.codebooks:
        book.begin_with(np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32), 1.0)
    x = tf.constant(np.random.default_rng(1).normal(size=(3, 50, 2)).astype(np.float32))
    choices = quantizer.draw_choices(x.shape, tf.zeros([3, 2], tf.int32), 0)
    vectors = [quantizer.look_up(quantizer(x).codes[..., :count]).numpy() for count in (1, 2, 3)]
    out = quantizer(x, training=True, choices=choices, kept=tf.constant([1, 2, 3]))
    for i in range(3):
        np.testing.assert_allclose(out.vectors[i], vectors[i][i], atol=1e-6)
    hits = [float(tf.reduce_sum(book.hits)) for book in quantizer.codebooks]
    assert hits == pytest.approx([8 * 0.99 + 0.01 * rows for rows in (150, 100, 50)])


def test_quantiser_dropout_keeps_one_at_least():
    model = small(quantizers=4, quantizer_dropout=0.5)
    drawn = tf.constant([[0.49, 0.0], [0.49, 0.26], [0.49, 0.99], [0.5, 0.0]])
    np.testing.assert_array_equal(model._kept(drawn), [1, 2, 4, 4])


def test_log_mel_distance_of_twice_the_loudness_is_the_logarithm_of_two():
    x = losses.spectrum(tf.constant(sounds(3, 4000)), (1024, 120, 600))
    loud = tf.maximum(x, 0.1)
    apart = losses.log_mel_distance(loud, 2 * loud, 8000)
    np.testing.assert_allclose(apart, np.log(2), rtol=1e-4)


# Training ----------------------------------------------------------------------------------------


def test_bandwidths_are_measured_before_a_run_on_clips_of_the_length_of_training():
    model, clips = small(), sounds(5, 600)
    integers = np.round(clips * 2**15).astype(np.int16)
    rows = WatchedRows(integers)
    examples = Examples(rows, np.array([600, 600, 512, 300, 256]), None)
    model.prepare(0, examples, 0)
    assert rows.most == 1
    cut = np.concatenate([clips[:3, :256], clips[:3, 256:512], clips[3:, :256]])
    expected = losses.bandwidth(cut, SHORT.stft)
    np.testing.assert_allclose(model.bandwidth, expected, rtol=1e-3)
    model.prepare(1, Examples(integers // 2, examples.lengths, None), 0)
    np.testing.assert_allclose(model.bandwidth, expected, rtol=1e-3)
    silence = Examples(np.zeros((3, 256, 1), np.int16), np.full(3, 256), None)
    with pytest.raises(UserError, match="3 clips of the training data are silent"):
        model.prepare(0, silence, 0)


def test_mixed_precision_keeps_codebooks_and_sound_in_float32():
    config = get_config("vqvae_tiny")
    converter = types.SimpleNamespace(channels=1, crop=2048, sample_rate=4000)
    model = build_model(config, converter, "mixed_bfloat16")
    batch = {"events": tf.constant(sounds(2, 2048)), "codebook": tf.constant([[1, 2], [3, 4]])}
    with tf.GradientTape() as tape:
        out = model(batch, training=True)
        loss = model.compute_loss(x=batch, y_pred=out)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert model.encoders[0].compute_dtype == "bfloat16"
    assert out["sound"][0].dtype == out["quantized"][0].vectors.dtype == tf.float32
    assert model.quantizers[0].codebooks[0].vectors.dtype == "float32"


def test_parts_of_a_batch_are_refused():
    model = small()
    compile_model(model, get_config("vqvae_tiny", ["train.micro_batches=2"]).train)
    with pytest.raises(UserError, match="micro_batches=2: codebooks learn from whole batches"):
        model.train_step({"events": tf.zeros([2, 256, 1])})


def test_two_replicas_train_the_codebooks_and_weights_of_one(tmp_path):
    code, output, errors = run(PROGRAM, str(tmp_path / "weights.npz"))
    assert code == 0, output + errors
    arrays = np.load(tmp_path / "weights.npz")
    one, two = ([arrays[name] for name in arrays if name.startswith(n)] for n in ("1/", "2/"))
    assert len(one) == len(two) > 30
    for name, a, b in zip(arrays, one, two, strict=False):
        # The deviation is measured around the mean of each replica.
        atol = 1e-3 if "prenorm" in name else 1e-5
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol, err_msg=name)
