"""Music Transformer against numbers recorded from tensor2tensor, with its weights imported."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from weight_recipe import RecipeReader

from magenta_lite.checkpoints.music_transformer import fitted_config, load_weights
from magenta_lite.checkpoints.tf1 import Variables, open_checkpoint
from magenta_lite.config import ExperimentConfig, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.music_transformer.config import (
    MusicTransformerConfig,
    NextTokenObjective,
)
from magenta_lite.modeling import decoding
from magenta_lite.modeling.optimizers import ClippedAdafactor, ClippedAdam
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.modeling.schedules import WarmUp

GOLDEN = Path(__file__).parents[1] / "golden" / "music_transformer" / "models"
TINY = sorted(path.name for path in GOLDEN.glob("tiny-*"))
REAL = sorted(path.name for path in GOLDEN.glob("real-*"))
RATES = json.loads((GOLDEN / "hparams_and_learning_rate.json").read_text())


def recorded(name):
    manifest = json.loads((GOLDEN / name / "manifest.json").read_text())
    with np.load(GOLDEN / name / "golden.npz") as file:
        return dict(file), manifest


def imported(name, manifest, variables=None):
    variables = variables or Variables(RecipeReader(manifest), name)
    converter = SimpleNamespace(
        crop_grid=1, rules=TokenRules(310, 92 if "melody" in name else 0, never=()), crop=0
    )
    config = ExperimentConfig(
        converter=None,
        model=MusicTransformerConfig(heads=manifest["hparams"]["num_heads"], dropout=0.0),
        objective=NextTokenObjective(manifest.get("label_smoothing") or 0.0),
    )
    config = fitted_config(config, converter, variables)
    model = build_model(config, converter)
    load_weights(model, variables)
    return model


def batch_of(golden):
    batch = {"events": tf.constant(golden["targets"])}
    return batch | ({"inputs": tf.constant(golden["inputs"])} if "inputs" in golden else {})


@pytest.mark.parametrize("name", [*TINY, *REAL])
def test_logits_and_losses_are_the_originals(name):
    golden, manifest = recorded(name)
    model = imported(name, manifest)
    batch = batch_of(golden)
    logits = model(batch)
    positions = golden.get("logits_positions", np.arange(logits.shape[1]))
    ours = tf.gather(logits, positions, axis=1)
    for row, length in enumerate(manifest["lengths"]):
        inside = positions < length
        np.testing.assert_allclose(
            ours.numpy()[row][inside], golden["logits"][row][inside], atol=1e-4
        )
    loss = model.compute_loss(x=batch, y_pred=logits, training=False)
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-5)
    np.testing.assert_allclose(
        model.log_likelihood(batch["events"], batch.get("inputs")),
        -golden["token_loss"].sum(axis=1),
        rtol=1e-4,
    )


def variables_by_name(model, manifest):
    """Returns the model's weights by their names in the checkpoint."""
    numbered = {}

    class Numbered(RecipeReader):
        def get_tensor(self, name):
            numbered[len(numbered) + 1] = name
            return np.full(manifest["variables"][name], len(numbered), np.float32)

    values = [weight.numpy() for weight in model.weights]
    numbers = Variables(Numbered(manifest), "numbers")
    load_weights(model, numbers)
    names = {}
    for weight in model.trainable_weights:
        number = int(np.ravel(weight.numpy())[0])
        names[numbered[number]] = weight
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value)
    return names


@pytest.mark.parametrize("name", TINY)
def test_gradients_are_the_originals(name):
    golden, manifest = recorded(name)
    model = imported(name, manifest)
    batch = batch_of(golden)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=batch, y_pred=model(batch, training=True), training=True)
    np.testing.assert_allclose(loss, golden["train_loss"], rtol=1e-5)
    names = variables_by_name(model, manifest)
    for (theirs, weight), gradient in zip(
        names.items(),
        tape.gradient(loss, [w.value for w in names.values()]),
        strict=True,
    ):
        wanted = golden[f"grad/{theirs}"]
        gradient = tf.convert_to_tensor(gradient).numpy()
        if "symbol_modality" in theirs and gradient.shape != wanted.shape:
            gradient = gradient[: len(wanted)]  # of shards the first
        limit = 1e-4 * max(1.0, np.abs(wanted).max())
        np.testing.assert_allclose(gradient, wanted, atol=limit, err_msg=theirs)
        assert weight.shape == gradient.shape or "symbol_modality" in theirs


@pytest.mark.parametrize("name", TINY)
def test_training_steps_give_the_originals_losses(name):
    golden, manifest = recorded(name)
    model = imported(name, manifest)
    batch = batch_of(golden)
    hidden = model.sizes.hidden_size
    if manifest["optimizer"] == "adam":
        # Its bias correction counts from here, its learning rate from the recorded step.
        schedule = WarmUp(2 * (8000 * hidden) ** -0.5, "noam", 8000)
        rates = [float(schedule(manifest["global_step"] + i)) for i in range(5)]
        optimizer = ClippedAdam(rates[0], beta_2=0.997, epsilon=1e-9, clip_norm=0.0)
    else:
        optimizer = ClippedAdafactor(WarmUp(1e-2, "rsqrt", 10_000), clip_norm=0.0)
        optimizer.iterations.assign(manifest["global_step"])
        rates = [float(optimizer.learning_rate)] * 5
    np.testing.assert_allclose(rates[0], golden["learning_rate"], rtol=1e-5)
    optimizer.build(model.trainable_variables)

    def loss_of():
        return model.compute_loss(x=batch, y_pred=model(batch, training=True), training=True)

    losses = []
    for step in range(5):
        with tf.GradientTape() as tape:
            loss = loss_of()
        losses.append(float(loss))
        gradients = tape.gradient(loss, [w.value for w in model.trainable_variables])
        if manifest["optimizer"] == "adam":
            optimizer.learning_rate = rates[step]
        optimizer.apply(gradients, model.trainable_variables)
        if step == 0:
            check_weights(model, manifest, golden)
    losses.append(float(loss_of()))
    np.testing.assert_allclose(losses, golden["train_losses"], rtol=1e-4)


def check_weights(model, manifest, golden):
    """Compares the weights after the first step, where they were recorded."""
    for theirs, weight in variables_by_name(model, manifest).items():
        if f"after1/{theirs}" not in golden:
            continue
        # Adam makes a step of full length out of a gradient that is nothing but rounding.
        counts = np.abs(golden[f"grad/{theirs}"]) > 1e-6
        wanted = golden[f"after1/{theirs}"]
        np.testing.assert_allclose(weight.numpy()[counts], wanted[counts], atol=1e-5)
        assert counts.mean() > 0.5 or "symbol_modality" in theirs or "spaces" in theirs


@pytest.mark.parametrize(("name", "count"), [(n, None) for n in TINY] + [
    ("real-unconditional", 50_565_120), ("real-relative", 12_249_600)])  # fmt: skip
def test_every_weight_of_a_checkpoint_has_its_place(name, count):
    _, manifest = recorded(name)
    model = imported(name, manifest)
    assert model.count_params() == manifest["parameters"]
    assert count in (None, manifest["parameters"])


@pytest.mark.parametrize(
    ("name", "step"), [("tiny-unconditional/trained.ckpt", 20_005), ("tiny-relative/init.ckpt", 0)]
)
def test_files_of_the_original_are_read_and_what_training_left_is_skipped(name, step):
    model_name = name.split("/")[0]
    golden, manifest = recorded(model_name)
    with open_checkpoint(GOLDEN / name) as variables:
        model = imported(model_name, manifest, variables)
        assert variables.global_step == step
    loss = model.compute_loss(
        x=batch_of(golden), y_pred=model(batch_of(golden), training=True), training=True
    )
    np.testing.assert_allclose(loss, golden["train_losses"][-1 if step else 0], rtol=1e-4)


@pytest.mark.parametrize("name", sorted(RATES["learning_rate"]))
def test_learning_rates_are_the_originals(name):
    recorded_rates = RATES["learning_rate"][name]
    hparams = RATES["hparams"][name]
    if "warmup" in hparams["learning_rate_schedule"]:
        hidden = hparams["hidden_size"]
        schedule = WarmUp(2 * (8000 * hidden) ** -0.5, "noam", 8000)
    else:
        schedule = WarmUp(1e-2, "rsqrt", 10_000)
    for step, rate in recorded_rates.items():
        np.testing.assert_allclose(schedule(int(step)), rate, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", [*TINY, *REAL])
def test_most_probable_continuations_are_the_originals(name):
    golden, manifest = recorded(name)
    model = imported(name, manifest)
    for run in ("", "_no_primer", "_primer"):
        if f"decoded{run}" not in golden:
            continue
        for row, (primer, wanted) in enumerate(
            zip(golden[f"primer{run}"], golden[f"decoded{run}"], strict=True)
        ):
            inputs = golden["inputs"][row] if "inputs" in golden else None
            tokens = continued(model, primer, len(wanted), inputs)
            np.testing.assert_array_equal(tokens, wanted)


def continued(model, primer, new, inputs):
    """Returns `new` tokens after `primer`, each the most probable one."""
    total = len(primer) + new
    state, memory = decoding.begin(model, primer, 1, total, inputs)
    uniforms = tf.zeros([total, 1])
    sampler = Sampler(temperature=0.0).tensors()
    weights = model.step_weights()
    while int(state.position) < total:
        slots = decoding.slots_for(model, int(state.position))
        state = decoding.with_slots(state, slots)
        stop = total if slots == model.attention_span else min(total, slots)
        state = decoding.decode(model, weights, state, memory, uniforms, sampler, stop)
    return state.tokens.numpy()[0, len(primer) : total]


def test_checkpoints_of_another_model_are_refused_by_name():
    _, manifest = recorded("tiny-relative")
    one = "transformer/body/decoder/layer_1/ffn/conv1/bias"

    def refused(change):
        changed = manifest | {"variables": change(dict(manifest["variables"]))}
        with pytest.raises(UserError) as error:
            imported("tiny-relative", changed)
        return str(error.value)

    missing = refused(lambda v: {k: s for k, s in v.items() if k != one})
    assert one in missing
    left_over = refused(lambda v: v | {"transformer/body/decoder/extra": [3]})
    assert "transformer/body/decoder/extra" in left_over
    shaped = refused(lambda v: v | {one: [7]})
    assert one in shaped and "[7]" in shaped
    melody = recorded("tiny-melody")[1]
    with pytest.raises(UserError, match=r"accompanies a melody.*=music_transformer_melody_16"):
        imported("tiny-relative", melody)


def test_a_model_of_accompaniments_is_imported_under_the_config_of_the_released_one():
    golden, manifest = recorded("tiny-melody")
    config = get_config("melody_conditioned_model_16", ["model.heads=4", "model.dropout=0"])
    assert manifest["hparams"]["num_heads"] == config.model.heads
    converter = build_converter(config.converter)
    variables = Variables(RecipeReader(manifest), "tiny-melody")
    config = fitted_config(config, converter, variables)
    model = build_model(config, converter)
    load_weights(model, variables)
    # As an example stands in a data set: the melody in front.
    steps = converter.rules.input_steps
    melody = np.pad(golden["inputs"], [[0, 0], [0, steps - golden["inputs"].shape[1]]])
    rows = np.concatenate([melody + converter.rules.size, golden["targets"]], axis=1)
    logits = model({"events": tf.constant(rows)})
    positions = golden.get("logits_positions", np.arange(logits.shape[1]))
    for row, length in enumerate(manifest["lengths"]):
        inside = positions < length
        ours = logits.numpy()[row][positions[inside]]
        np.testing.assert_allclose(ours, golden["logits"][row][inside], atol=1e-4)
