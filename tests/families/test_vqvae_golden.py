"""The VQ-VAE against what was recorded of Jukebox': codes, sounds, losses, steps.

Tolerances are some ten times what moves when weights change by a millionth.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.checkpoints import vqvae as vqvae_checkpoints
from magenta_lite.checkpoints.vqvae import config_from_state, load_weights, state_of
from magenta_lite.errors import UserError
from magenta_lite.families.vqvae import losses
from magenta_lite.families.vqvae.codebook import Choice
from magenta_lite.families.vqvae.config import VQVAEConfig, VQVAEObjective
from magenta_lite.families.vqvae.model import VQVAE
from magenta_lite.families.vqvae.quantizer import Quantizer
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.optimizers import ClippedAdam

GOLDEN = Path(__file__).parents[1] / "golden" / "jukebox" / "vqvae"
CASES = json.loads((GOLDEN / "cases.json").read_text())
BOTTLENECKS = json.loads((GOLDEN / "bottleneck.json").read_text())
SPARSE, SOME = 29, 11  # which numbers of activations and gradients are kept
FAR = 1e6  # place in the order of rows that are not chosen


class Case:
    """A recorded model: its state, ours with its weights, and arrays by name."""

    def __init__(self, name: str):
        self.manifest = CASES[name]
        self.hparams = self.manifest["hparams"]
        self.arrays = dict(np.load(GOLDEN / f"{name}.npz"))
        shapes = self.manifest["variables"].items()
        ends = np.cumsum([np.prod(shape) for _, shape in shapes])
        parts = np.split(self.arrays["weights"], ends[:-1])
        self.state = {
            key: part.reshape(shape) for (key, shape), part in zip(shapes, parts, strict=True)
        }
        hparams = self.hparams
        sizes = config_from_state(
            self.state,
            dilation_growth=hparams["dilation_growth_rate"],
            dilation_cycle=hparams["dilation_cycle"] or 0,
            reverse_decoder_dilation=hparams["reverse_decoder_dilation"],
            codebook_decay=hparams["l_mu"],
        )
        l1, l2, linf = hparams["lmix"] if hparams["loss_fn"] == "lmix" else (0, 1, 0)
        objective = VQVAEObjective(
            commitment=hparams["commit"],
            multi_spectral=hparams["multispectral"],
            spectral=hparams["spectral"],
            relative_spectral=not hparams["nonrel"],
            l1=l1,
            l2=l2,
            linf=linf,
            linf_count=hparams["linf_k"],
        )
        self.model = VQVAE(sizes, objective, crop=hparams["T"])
        bandwidth = hparams["bandwidth"]
        self.model.bandwidth.assign([bandwidth["l1"], bandwidth["l2"], bandwidth["spec"]])
        self.batch = {
            "events": tf.constant(self.arrays["x"]),
            "codebook": tf.zeros([len(self.arrays["x"]), 2], tf.int32),
        }
        self.load()

    def load(self):
        """Puts the recorded state into the model, codebooks as before the first step."""
        load_weights(self.model, self.state)
        for level, quantizer in enumerate(self.model.quantizers):
            for name, ours in (("k_sum", "sums"), ("k_elem", "hits")):
                variable = getattr(quantizer.codebooks[0], ours)
                recorded = self.arrays[f"train/{name}_before/l{level}"]
                if not self.hparams["nonrel"]:  # this one began otherwise
                    variable.assign(recorded)
                np.testing.assert_allclose(variable, recorded, rtol=1e-6)

    def choose_by(self, prefix: str):
        """Makes random rows the recorded ones."""
        for level, quantizer in enumerate(self.model.quantizers):
            recorded = self.arrays[f"{prefix}/l{level}"]
            batch, samples = self.arrays["x"].shape[:2]
            rows = batch * (samples // self.model.hop_lengths[level])
            choice = Choice(order_of(recorded, rows).reshape(batch, -1))
            quantizer.draw_choices = lambda *_, choice=choice: [(choice, choice)]

    def trained(self) -> dict[str, keras.Variable]:
        """Returns what gradients train, by the original's names."""
        names = vqvae_checkpoints._names(self.model)
        return {k: v for k, v in names.items() if not k.startswith("bottleneck")}


def order_of(permutation, rows: int):
    order = np.full(rows, FAR, np.float32)
    order[np.asarray(permutation, int)] = np.arange(len(permutation))
    return order


def flat(arrays) -> np.ndarray:
    """Returns arrays in PyTorch's order of axes, one after the other."""
    arrays = [a if isinstance(a, np.ndarray) else a.numpy() for a in arrays]
    return np.concatenate([(a.transpose(2, 1, 0) if a.ndim == 3 else a).ravel() for a in arrays])


def close(actual, recorded, atol: float = 1e-5, rtol: float = 1e-5, name: str = ""):
    np.testing.assert_allclose(actual, recorded, atol=atol, rtol=rtol, err_msg=name)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(request.param)


def test_states_go_in_and_come_out_in_the_order_of_the_original(case):
    state = state_of(case.model)
    assert list(state) == list(case.state)
    for name, array in state.items():
        np.testing.assert_array_equal(array, case.state[name], name)
    assert case.model.hop_lengths == tuple(case.manifest["hop_lengths"])
    names = list(case.state)
    short = {name: case.state[name] for name in names[1:]}
    with pytest.raises(UserError, match=rf"no {names[0]}: it belongs"):
        load_weights(case.model, short)
    with pytest.raises(UserError, match="no place for: extra:"):
        load_weights(case.model, case.state | {"extra": np.zeros(1)})
    with pytest.raises(UserError, match=r"has shape.*needs"):
        load_weights(case.model, case.state | {names[0]: np.zeros((1, 2, 3))})


def test_codes_and_sounds_are_the_recorded_ones(case):
    model, arrays = case.model, case.arrays
    sound = tf.constant(arrays["x"])
    for level, codes in enumerate(model.encode(sound)):
        x = sound
        for b, block in enumerate(model.encoders[level].blocks):
            x = block(x)
            key = f"enc/l{level}" if b == level else f"enc_block/l{level}/b{b}"
            close(np.ravel(x)[::SPARSE], arrays[key], atol=1e-5, name=key)
        assert codes.dtype == tf.int32
        np.testing.assert_array_equal(codes, arrays[f"codes/l{level}"])
        back = model.decode(codes, level)
        close(np.ravel(back)[::SPARSE], arrays[f"recon/l{level}"], atol=2e-5)
        other = arrays[f"rand_codes/l{level}"].astype(np.int32)
        back = model.decode(other, level)
        close(np.ravel(back)[::SPARSE], arrays[f"rand_recon/l{level}"], atol=2e-5)
        vectors = model.quantizers[level].look_up(codes)
        for b in range(level, 0, -1):
            vectors = model.decoders[level].blocks[b](vectors)
            close(np.ravel(vectors)[::SPARSE], arrays[f"dec_block/l{level}/b{b}"], atol=2e-5)


def check_metrics(case, recorded, loss, names):
    model, tracked = case.model, case.model.tracked
    assert float(loss) == pytest.approx(recorded["loss"], rel=1e-5)
    levels = range(model.sizes.levels)
    for name, theirs in names.items():
        assert float(tracked[name].result()) == pytest.approx(recorded[theirs], rel=1e-4), name
    for level in levels:
        theirs = recorded[f"multispectral_loss_l{level + 1}"]
        assert float(tracked[f"multi_spectral_{level}"].result()) == pytest.approx(theirs, rel=1e-5)
    for metric in tracked.values():
        metric.reset_state()


SOUND_METRICS = {
    "spectral_convergence": "spectral_convergence",
    "reconstruction": "recons_loss",
    "commitment": "commit_loss",
}
CODE_METRICS = {"fit": "fit", "prenorm": "pn", "change": "dk"}


def test_losses_are_the_recorded_ones(case):
    out = case.model(case.batch)
    loss = case.model.compute_loss(x=case.batch, y_pred=out)
    check_metrics(case, case.manifest["eval"], loss, SOUND_METRICS)
    first = case.model.decode(out["quantized"][0].codes, 0)
    close(out["sound"][0], first, atol=2e-5)


def test_a_training_pass_gives_the_recorded_gradient_and_codebooks(case):
    case.load()
    case.choose_by("train/perm")
    weights = case.trained()

    with tf.GradientTape() as tape:
        out = case.model(case.batch, training=True)
        loss = case.model.compute_loss(x=case.batch, y_pred=out)
    gradients = tape.gradient(loss, [w.value for w in weights.values()])
    statistics = [coded.statistics for coded in out["quantized"]]
    recorded = case.manifest["train"]
    check_metrics(case, recorded, loss, SOUND_METRICS | CODE_METRICS)
    for name, theirs in (("entropy", "entropy"), ("used", "used_curr"), ("alive", "usage")):
        mean = np.mean([getattr(each, name) for each in statistics])
        assert mean == pytest.approx(recorded[theirs], rel=1e-5), name
    ours = flat(gradients)[::SOME]
    close(ours, case.arrays["grad"], atol=2e-5 * np.abs(ours).max(), rtol=1e-4)
    check_codebooks(case, "train/{}_after/l{}")


def check_codebooks(case, pattern: str):
    for level, quantizer in enumerate(case.model.quantizers):
        codebook = quantizer.codebooks[0]
        for ours, theirs in (("vectors", "k"), ("sums", "k_sum"), ("hits", "k_elem")):
            key = pattern.format(theirs, level)
            close(getattr(codebook, ours), case.arrays[key], atol=2e-5, name=key)


def test_steps_of_the_optimiser_give_the_recorded_weights(case):
    """All weights as one vector. Their decay, which our optimiser has not, is done beside it."""
    case.load()
    steps = 5 if "steps/after5" in case.arrays else 2
    settings, model, arrays = case.manifest["optimizer"], case.model, case.arrays
    weights = list(case.trained().values())
    sizes = [int(np.prod(weight.shape)) for weight in weights]

    def joined(tensors):
        return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)

    everything = keras.Variable(joined(weights))
    average = everything.numpy()
    optimizer = ClippedAdam(settings["lr"], clip_norm=settings["clip"])
    for i in range(steps):
        case.choose_by(f"steps/perm/s{i}")
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=case.batch, y_pred=model(case.batch, training=True))
        gradient = joined(tape.gradient(loss, [weight.value for weight in weights]))
        assert float(loss) == pytest.approx(arrays["steps/losses"][i], rel=2e-5)
        assert float(tf.norm(gradient)) == pytest.approx(arrays["steps/grad_norms"][i], rel=1e-3)
        rate, before = float(arrays["steps/lrs"][i]), everything.numpy()
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients([(gradient, everything)])
        correction = (1 - settings["beta2"] ** (i + 1)) ** 0.5 / (1 - settings["beta1"] ** (i + 1))
        everything.assign_sub(rate * correction * settings["weight_decay"] * before)
        average += (1 - settings["ema_mu"]) * (everything.numpy() - average)
        for weight, part in zip(weights, tf.split(everything, sizes), strict=True):
            weight.assign(tf.reshape(part, weight.shape))
    close(flat(weights)[::SOME], arrays[f"steps/after{steps}"], atol=2e-6, rtol=0)
    check_codebooks(case, f"steps/after{steps}/{{}}/l{{}}")
    if steps == 5:
        parts = np.split(average, np.cumsum(sizes)[:-1])
        averages = [part.reshape(w.shape) for part, w in zip(parts, weights, strict=True)]
        close(flat(averages)[::SOME], arrays["steps/ema"], atol=1e-6, rtol=0)


# The codebook alone ------------------------------------------------------------------------------

STEPPED = [name for name in BOTTLENECKS if "steps" in BOTTLENECKS[name]]
RECORDED = np.load(GOLDEN / "bottleneck.npz")


def bottleneck(codes: int, width: int, mu: float = 0.99, threshold: float = 1.0):
    sizes = VQVAEConfig(
        (1,), (2,), width, codes, codebook_decay=mu, revival_threshold=float(threshold)
    )
    return Quantizer(sizes)


@pytest.mark.parametrize("name", STEPPED)
def test_codebooks_learn_as_recorded(name):
    settings = BOTTLENECKS[name]
    quantizer = bottleneck(*(settings[key] for key in ("bins", "emb", "mu", "threshold")))
    codebook = quantizer.codebooks[0]
    states = {"vectors": "k", "sums": "k_sum", "hits": "k_elem"}
    learn = graph_function(
        lambda x, choices: quantizer(x, training=True, choices=[choices]), reduce_retracing=True
    )
    for i, metrics in enumerate(settings["steps"]):
        case = f"{name}/s{i}"
        x, orders = RECORDED[f"{case}/x"], RECORDED[f"{case}/perms"]
        known = f"{case}/before/k" in RECORDED
        assert i == 0 or known
        if known:
            for ours, theirs in states.items():
                getattr(codebook, ours).assign(RECORDED[f"{case}/before/{theirs}"])
            codebook.ready.assign(1.0)
        noises = dict(enumerate(RECORDED[f"{case}/noises"] if metrics["n_noises"] else ()))
        choices = [
            Choice(
                tf.constant(order_of(order, len(order)).reshape(len(x), -1)),
                noises[n][None] if noises else None,
            )
            for n, order in enumerate(orders)
        ]
        # A codebook that there is already has no use for the first of the two.
        out = learn(x, (choices[0], choices[-1]))
        np.testing.assert_array_equal(out.codes, RECORDED[f"{case}/codes"])
        close(out.vectors, RECORDED[f"{case}/out"], atol=1e-6)
        for ours, theirs in states.items():
            recorded = RECORDED[f"{case}/after/{theirs}"]
            close(getattr(codebook, ours), recorded, atol=1e-6, rtol=2e-6, name=f"{case} {ours}")
        assert float(out.commitment) == pytest.approx(metrics["commit_loss"], rel=1e-4)
        for ours, theirs in (
            ("fit", "fit"),
            ("prenorm", "pn"),
            ("entropy", "entropy"),
            ("used", "used_curr"),
            ("alive", "usage"),
            ("change", "dk"),
        ):
            value = float(getattr(out.statistics, ours))
            assert value == pytest.approx(metrics[theirs], rel=2e-3 if ours == "fit" else 1e-5), (
                ours
            )


def test_codebooks_do_not_learn_in_evaluation():
    quantizer = bottleneck(*RECORDED["evaluation/k"].shape)
    quantizer.codebooks[0].begin_with(RECORDED["evaluation/k"], 1.0)
    before = [weight.numpy() for weight in quantizer.weights]
    out = quantizer(RECORDED["evaluation/x"])
    np.testing.assert_array_equal(out.codes, RECORDED["evaluation/codes"])
    close(out.vectors, RECORDED["evaluation/out"], atol=1e-6)
    for name, theirs in (("fit", "fit"), ("prenorm", "pn")):
        value = float(getattr(out.statistics, name))
        assert value == pytest.approx(BOTTLENECKS["evaluation"][theirs], rel=1e-5)
    for weight, value in zip(quantizer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_gradient_goes_straight_through():
    quantizer = bottleneck(*RECORDED["gradient/k"].shape)
    quantizer.codebooks[0].begin_with(RECORDED["gradient/k"], 1.0)
    x = tf.constant(RECORDED["gradient/x"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = quantizer(x)
        loss = tf.reduce_sum(out.vectors * RECORDED["gradient/g"]) + 0.25 * out.commitment
    close(tape.gradient(loss, x), RECORDED["gradient/grad_x"], atol=1e-6)


# Losses alone ------------------------------------------------------------------------------------

LOSSES = json.loads((GOLDEN / "losses.json").read_text())
SPECTRA = np.load(GOLDEN / "losses.npz")
SINGLE = (2048, 256, 1536)
MULTIPLE = VQVAEObjective().resolutions


def test_spectra_are_the_recorded_ones():
    sound = tf.constant(SPECTRA["x"][:1, :3000])
    for resolution in (SINGLE, *MULTIPLE):
        ours = losses.spectrum(sound, resolution).numpy().transpose(0, 2, 1)
        recorded = SPECTRA["stft_magnitude/{}_{}_{}".format(*resolution)]
        close(ours.ravel()[::SPARSE], recorded, atol=2e-5)


def test_distances_of_spectra_are_the_recorded_ones():
    x, y = tf.constant(SPECTRA["x"]), tf.constant(SPECTRA["y"])
    single = [losses.spectrum(each, SINGLE) for each in (x, y)]
    close(losses.distance(*single), SPECTRA["spectral_loss"])
    close(losses.convergence(*single), SPECTRA["spectral_convergence"])
    assert float(losses.convergence(*single)[3]) == 0

    def multiple(y):
        each = [
            losses.distance(losses.spectrum(x, resolution), losses.spectrum(y, resolution))
            for resolution in MULTIPLE
        ]
        return sum(each) / len(each)

    with tf.GradientTape() as tape:
        tape.watch(y)
        total = multiple(y)
        loss = tf.reduce_sum(total[:3])
    close(total, SPECTRA["multispectral_loss"])
    close(tape.gradient(loss, y), SPECTRA["grad_y_of_multispectral_sum_first3"], atol=2e-5)
    with tf.GradientTape() as tape:
        tape.watch(x)
        same = multiple(x)
    assert np.isfinite(tape.gradient(same, x)).all()


def test_distances_of_samples_are_the_recorded_ones():
    bandwidth, weights = LOSSES["bandwidth"], LOSSES["lmix_weights"]
    x, y = tf.constant(SPECTRA["x"]), tf.constant(SPECTRA["y"])
    for names, recorded in (
        (("l1",), LOSSES["l1"]),
        (("l2",), LOSSES["l2"]),
        (("linf",), LOSSES["linf"]),
        (("l1", "l2", "linf"), LOSSES["lmix"]),
    ):
        asked = {name: weights[name] if len(names) > 1 else 1.0 for name in names}
        none = {"l1": 0.0, "l2": 0.0, "linf": 0.0, "multi_spectral": 0.0}
        objective = VQVAEObjective(**none | asked, linf_count=LOSSES["linf_k"])
        model = VQVAE(VQVAEConfig((1,), (2,), 4, 8, 4, 1), objective)
        model.bandwidth.assign([bandwidth["l1"], bandwidth["l2"], bandwidth["spec"]])
        ours = model.distances(x, [y])["reconstruction"][0]
        assert float(ours) == pytest.approx(recorded, rel=1e-5), names


def test_bandwidths_are_the_recorded_ones():
    measured = losses.bandwidth(SPECTRA["bandwidth_items"], SINGLE)
    recorded = LOSSES["bandwidth_estimate"]
    assert measured.l1 == pytest.approx(recorded["l1"], rel=1e-6)
    assert measured.l2 == pytest.approx(recorded["l2"], rel=1e-6)
    assert measured.spectrum == pytest.approx(recorded["spec"], rel=1e-5)
