"""The MusicVAE against numbers recorded from the original code, with its weights imported."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.checkpoints.music_vae import load_weights
from magenta_lite.checkpoints.tf1 import Variables, open_checkpoint
from magenta_lite.models.music_vae.config import MusicVAEConfig, VAEObjective
from magenta_lite.models.music_vae.model import MusicVAE
from magenta_lite.training.optimizer import ClippedAdam

GOLDEN = Path(__file__).parents[1] / "golden" / "music_vae"
STEPS = 32


class RecipeReader:
    """Weights that are a function of their name, as the golden data's page defines them."""

    def __init__(self, manifest):
        self.manifest = manifest

    def get_variable_to_shape_map(self):
        return self.manifest["variables"]

    def get_tensor(self, name):
        shape = self.manifest["variables"][name]
        key = (zlib.crc32(name.encode()) + 7919 * self.manifest["weight_seed"]) % 2**32
        limit = self.manifest["weight_bias"]
        if len(shape) > 1:
            limit = self.manifest["weight_gain"] * np.sqrt(3 / np.prod(shape[:-1]))
        draw = np.random.RandomState(key).uniform(-limit, limit, size=shape)
        return draw.astype(np.float32)


def load(name):
    manifest = json.loads((GOLDEN / name / "manifest.json").read_text())
    golden = dict(np.load(GOLDEN / name / "golden.npz"))
    sizes = manifest["hparams"]
    model = MusicVAE(
        depth=90,
        length=STEPS,
        model=MusicVAEConfig(
            sizes["z_size"], tuple(sizes["enc_rnn_size"]), tuple(sizes["dec_rnn_size"])
        ),
        objective=VAEObjective(sizes["max_beta"], sizes["beta_rate"], sizes["free_bits"]),
    )
    model.compile(optimizer=ClippedAdam(float(golden["learning_rate"])))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(manifest["global_step"])
    return manifest, golden, model


def batch_of(golden):
    size = len(golden["lengths"])
    return {
        "events": tf.constant(golden["targets"].argmax(-1).astype(np.int32)),
        "length": tf.constant(golden["lengths"]),
        "noise": tf.constant(golden["eps"]),
        "uniforms": tf.zeros([size, STEPS, 2]),
    }


def assert_forward_equals(golden, model):
    batch = batch_of(golden)
    outputs = model(batch)
    for key in ("mu", "sigma", "z"):
        np.testing.assert_allclose(outputs[key], golden[key], atol=1e-4)
    logits = golden["logits"]
    counted = np.arange(STEPS) < golden["lengths"][: len(logits), None]
    np.testing.assert_allclose(
        outputs["logits"].numpy()[: len(logits)][counted], logits[counted], atol=1e-4
    )
    terms = model.loss_terms(batch, outputs)
    np.testing.assert_allclose(terms["nll"], golden["r_loss"], atol=1e-4)
    np.testing.assert_allclose(terms["kl"], golden["kl_div"], rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(terms["kl_cost"], golden["kl_cost"], rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(model.beta(), golden["beta"], rtol=1e-6)
    loss = model.compute_loss(x=batch, y_pred=outputs)
    np.testing.assert_allclose(loss, golden["loss"], atol=1e-4)
    decoded = model.decode(outputs["z"], seed=0, temperature=0.0)
    assert (decoded.numpy() == golden["greedy_samples"].argmax(-1)).mean() > 0.99


def test_tiny_checkpoint_gives_the_recorded_forward_pass_and_losses():
    _, golden, model = load("tiny-cat-mel_2bar_small")
    with open_checkpoint(GOLDEN / "tiny-cat-mel_2bar_small" / "init.ckpt") as variables:
        assert variables.global_step == 1200
        load_weights(model, variables)
    assert_forward_equals(golden, model)


def test_recipe_gives_the_weights_of_the_tiny_checkpoint():
    manifest, _, _ = load("tiny-cat-mel_2bar_small")
    with open_checkpoint(GOLDEN / "tiny-cat-mel_2bar_small" / "init.ckpt.index") as variables:
        for name in manifest["variables"]:
            np.testing.assert_array_equal(variables[name], RecipeReader(manifest).get_tensor(name))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("real-cat-mel_2bar_small", 4_423_770), ("real-cat-mel_2bar_big", 134_571_098)],
)
def test_published_sizes_give_the_recorded_forward_pass_and_losses(name, parameters):
    manifest, golden, model = load(name)
    assert model.count_params() == parameters
    load_weights(model, Variables(RecipeReader(manifest), name))
    assert_forward_equals(golden, model)


def original_names(model, values):
    """Turns `values`, one per weight in the model's order, into the original's names and shapes."""
    by_weight = {
        id(w): np.asarray(v) for w, v in zip(model.trainable_variables, values, strict=True)
    }
    named = {}

    def lstm(layer, name):
        kernel, recurrent, bias = (by_weight[id(w)] for w in layer.weights)
        for key, value in (("kernel", np.concatenate([kernel, recurrent])), ("bias", bias)):
            i, f, g, o = np.split(value, 4, axis=-1)
            named[f"{name}/lstm_cell/{key}"] = np.concatenate([i, g, f, o], axis=-1)

    path = "encoder/cell_0/bidirectional_rnn/{}/multi_rnn_cell/cell_0"
    lstm(model.encoder.forward_layers[0], path.format("fw"))
    lstm(model.encoder.backward_layers[0], path.format("bw"))
    for i, layer in enumerate(model.decoder.layers):
        lstm(layer, f"decoder/multi_rnn_cell/cell_{i}")
    for layer, name in (
        (model.mu, "encoder/mu"),
        (model.sigma, "encoder/sigma"),
        (model.decoder.initial_state, "decoder/z_to_initial_state"),
        (model.decoder.output_projection, "decoder/output_projection"),
    ):
        named[f"{name}/kernel"], named[f"{name}/bias"] = (by_weight[id(w)] for w in layer.weights)
    return named


def tiny_with_weights():
    _, golden, model = load("tiny-cat-mel_2bar_small")
    with open_checkpoint(GOLDEN / "tiny-cat-mel_2bar_small" / "init.ckpt") as variables:
        load_weights(model, variables)
    return golden, model


def test_gradients_equal_the_recorded_ones():
    golden, model = tiny_with_weights()
    batch = batch_of(golden)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=batch, y_pred=model(batch, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    np.testing.assert_allclose(
        tf.linalg.global_norm(gradients), golden["grad_global_norm"], rtol=1e-5
    )
    for name, gradient in original_names(model, gradients).items():
        np.testing.assert_allclose(gradient, golden[f"grad/{name}"], atol=1e-4, err_msg=name)


def test_first_optimizer_step_and_five_training_losses_equal_the_recorded_ones():
    golden, model = tiny_with_weights()
    batch = batch_of(golden)
    # The recorded optimiser's own count starts at 0, the annealing of beta at 1200.
    model.optimizer.iterations.assign(0)
    losses = []
    for step in range(6):
        model._step = lambda now=1200.0 + step: tf.constant(now)
        losses.append(float(model.compute_loss(x=batch, y_pred=model(batch, training=True))))
        if step == 5:
            break
        model.optimizer.learning_rate = learning_rate_at(1200 + step)
        model.train_step(batch)
        if step == 0:
            weights = original_names(model, model.get_weights()[: len(model.trainable_variables)])
            for name, value in weights.items():
                if name.endswith("lstm_cell/bias"):
                    units = value.shape[0] // 4
                    value[2 * units : 3 * units] -= 1
                np.testing.assert_allclose(value, golden[f"after1/{name}"], atol=1e-5)
    np.testing.assert_allclose(losses, golden["train_losses"], atol=1e-3, rtol=1e-5)


def learning_rate_at(step):
    return 1e-5 + (1e-3 - 1e-5) * 0.9999**step
