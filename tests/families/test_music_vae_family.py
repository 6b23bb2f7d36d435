"""Every configuration of the MusicVAE family: its size, and its small twin from end to end."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from magenta_lite.config import config_names, get_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.families.building import build_model
from magenta_lite.families.music_vae import inputs
from magenta_lite.families.music_vae.evaluation import MEANINGS
from magenta_lite.families.music_vae.heads import Categorical, make_head
from magenta_lite.testing.events import made_up_chords, made_up_events
from magenta_lite.training.trainer import compile_model

# Weights of the full sizes that are known.
PARAMETERS = {
    "cat-mel_2bar_small": 4_423_770,
    "cat-mel_2bar_big": 134_571_098,
    "hierdec-mel_16bar": 176_061_530,
    "hierdec-trio_16bar": 230_975_156,
    "cat-drums_2bar_small": 4_636_672,
    "groovae_2bar_humanize": 4_085_019,
}
# Of the others rows of the first converter kernel, rows of the decoder's, columns of the output.
SHAPES = {
    "cat-mel_2bar_med_chords": (1163, 907, 90),
    "flat-mel_16bar": (2138, 2650, 90),
    "hier-mel_16bar": (1114, 2138, 90),
    "flat-trio_16bar": (2740, 3252, 692),
    "hier-trio_16bar": (1716, 2138, 90),
    "hier-multiperf_vel_1bar_med": (1514, 1514, 490),
    "hier-multiperf_vel_1bar_med_chords": (1563, 1563, 490),
    "hier-multiperf_vel_1bar_big": (2538, 2538, 490),
    "hier-multiperf_vel_1bar_big_chords": (2587, 2587, 490),
    "cat-drums_2bar_big": (2058, 3072, 512),
    "nade-drums_2bar_reduced": (1034, 777, 137),
    "nade-drums_2bar_full": (1086, 829, 189),
    "groovae_4bar": (539, 539, 27),
    "groovae_2bar_tap_fixed_velocity": (539, 539, 27),
    "groovae_2bar_tap_fixed_velocity_note_dropout": (539, 539, 27),
    "groovae_2bar_add_closed_hh": (539, 539, 27),
    "groovae_2bar_hits_control_tfds": (548, 548, 27),
}
AS_THE_ORIGINAL = ("model.expression_units=0",)
# All kinds of encoders, decoders, events and controls; the others combine the same kinds.
SERVED = (
    "cat-mel_2bar_med_chords",
    "hier-mel_16bar",
    "hierdec-trio_16bar",
    "flat-trio_16bar",
    "hier-multiperf_vel_1bar_med_chords",
    "cat-drums_2bar_small",
    "nade-drums_2bar_full",
    "groovae_2bar_humanize",
    "groovae_2bar_hits_control_tfds",
)
# Their twins are those of others in all but the name.
SAME_TWIN = ("hier-multiperf_vel_1bar_big", "hier-multiperf_vel_1bar_big_chords")
TRAINED = (PARAMETERS | SHAPES).keys() - {*SERVED, *SAME_TWIN}
BATCH = 8

# Each reads names of folders, one a line, and answers a line for each.
RELOAD = """
import sys
import keras, numpy as np, tensorflow as tf
import magenta_lite.families.music_vae.model, magenta_lite.training.trainer
for folder in map(str.strip, sys.stdin):
    model = keras.saving.load_model(folder + "/model.keras")
    trained = np.load(folder + "/weights.npz").values()
    for weight, expected in zip(model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(weight, expected)
    sample, arguments = model.signatures()["sample"], model.signature_arguments(3, 0.8, 5)
    np.save(folder + "/sampled.npy", sample(**arguments)["events"])
    np.savez(folder + "/arguments.npz", **{key: x.numpy() for key, x in arguments.items()})
    module = tf.Module()
    module.model_weights = [weight.value for weight in model.weights]
    tf.saved_model.save(module, folder + "/exported", signatures=sample)
    print("done", flush=True)
    keras.backend.clear_session()
"""
SERVE = """
import sys
for name in ("magenta_lite", "keras", "tensorflow_probability"):
    sys.modules[name] = None
import numpy as np, tensorflow as tf
for folder in map(str.strip, sys.stdin):
    sample = tf.saved_model.load(folder + "/exported").signatures["serving_default"]
    arguments = {k: tf.constant(v) for k, v in np.load(folder + "/arguments.npz").items()}
    np.save(folder + "/served.npy", sample(**arguments)["events"])
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def others():
    """Two other Python processes, that reload and that serve; each starts once for all twins."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    programs = [subprocess.Popen([sys.executable, "-c", code], **pipes) for code in (RELOAD, SERVE)]
    yield programs
    for program in programs:
        program.communicate()


def test_the_tests_know_every_configuration_of_the_original():
    known = PARAMETERS | SHAPES
    assert len(known) == 23
    assert {config for name in known for config in (name, f"{name}_tiny")} <= {*config_names()}


@pytest.mark.parametrize("name", PARAMETERS)
def test_full_size_has_as_many_weights_as_the_original(name):
    config = get_config(name, original=True)
    events = config.model.input_format(build_converter(config.converter).event_format)
    assert expected_parameters(config.model, events) == PARAMETERS[name]


@pytest.mark.parametrize("name", SHAPES)
def test_full_size_reads_and_gives_as_many_channels_as_the_original(name):
    config = get_config(name, original=True)
    model = config.model
    events = model.input_format(build_converter(config.converter).event_format)
    control = inputs.control_size(events)
    head = make_head(events, model.nade_units)
    if model.decoder_per_part:
        head = Categorical(events.sizes[0])
    code = model.decoder_units[-1] if model.segments > 1 else model.latent_size
    assert SHAPES[name] == (
        inputs.input_size(events) + control + model.encoder_units[0],
        head.vector_size + code + control + model.decoder_units[0],
        head.parameter_size,
    )


def expected_parameters(model, events) -> int:
    """Counts weights by the original's shapes, without building anything."""

    def lstm(size, units):
        return (size + units) * 4 * units + 4 * units

    def stack(size, all_units):
        return sum(lstm(n, u) for n, u in zip([size, *all_units[:-1]], all_units, strict=True))

    def dense(size, units):
        return (size + 1) * units

    def bidirectional(size, all_units):
        sizes = [size, *(2 * u for u in all_units[:-1])]
        return sum(2 * lstm(n, u) for n, u in zip(sizes, all_units, strict=True))

    control = inputs.control_size(events)
    units = model.encoder_units
    total = bidirectional(inputs.input_size(events) + control, units)
    total += sum(bidirectional(2 * units[-1], units) for _ in model.encoder_levels[1:])
    total += 2 * dense(2 * units[-1], model.latent_size)
    states, code = 2 * sum(model.decoder_units), model.latent_size
    if model.segments > 1:
        total += dense(code, states) + stack(1, model.decoder_units)
        code = model.decoder_units[-1]
    sizes = [sum(events.sizes) * (3 if events.kind == "groove" else 1)]
    if model.expression_units:
        sizes = list(events.sizes)  # of hits
        total += dense(model.latent_size, model.expression_units)
        total += 2 * lstm(sizes[0] + model.expression_units, model.expression_units)
        total += dense(2 * model.expression_units, 2 * sizes[0])
    for size in events.sizes if model.decoder_per_part else sizes:
        nade = events.kind == "roll"
        total += dense(code, states) + stack(size + code + control, model.decoder_units)
        total += dense(model.decoder_units[-1], size + nade * model.nade_units)
        total += 2 * nade * size * model.nade_units
    return total


def made_up_examples(converter, count):
    events_format, steps = converter.event_format, converter.window_steps
    events = made_up_events(events_format, count, steps)
    controls = made_up_chords(count, steps) if events_format.control == "chords" else None
    return Examples(events, np.full(count, steps, np.int32), None, controls)


def train_a_little(name, folder):
    """Trains the small twin of `name`; leaves it in `folder`."""
    keras.utils.set_random_seed(0)
    config = get_config(f"{name}_tiny", [f"train.batch_size={BATCH}"])
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable == expected_parameters(config.model, model.events_format)
    compile_model(model, config.train)
    examples = made_up_examples(converter, 2 * BATCH)
    settings = {"batch_size": BATCH, "seed": 0, "transpose": config.data.transpose}
    data = batches_for(
        converter, examples, random_inputs=model.random_inputs(), **settings
    ).dataset()
    before = [weight.numpy() for weight in model.trainable_variables]
    history = model.fit(data, steps_per_epoch=3, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight, old in zip(model.trainable_variables, before, strict=True):
        never_read = weight.shape[0] == 1  # the row of a conductor's input, which is zero
        assert never_read or not np.array_equal(weight, old), weight.path

    folder.mkdir()
    model.save(folder / "model.keras")
    np.savez(folder / "weights.npz", *model.get_weights())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("hierdec-trio_16bar", ("converter.bars=4", "model.segments=4")),
        ("groovae_2bar_humanize", ()),
        ("groovae_2bar_humanize", AS_THE_ORIGINAL),
    ],
)
def test_evaluation_measures_what_it_says(name, changes):
    config = get_config(f"{name}_tiny", changes)
    converter = build_converter(config.converter)
    numbers = build_model(config, converter).measure(made_up_examples(converter, 5))
    assert set(numbers) <= set(MEANINGS)
    assert numbers["examples"] == 5
    assert all(np.isfinite(value) for value in numbers.values())


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_small_twin_trains(name, tmp_path):
    train_a_little(name, tmp_path / name)
    keras.backend.clear_session()


def test_twins_of_two_names_are_the_same():
    for name in SAME_TWIN:
        big, medium = (get_config(f"{n}_tiny") for n in (name, name.replace("_big", "_med")))
        assert (big.model, big.converter, big.objective) == (
            medium.model,
            medium.converter,
            medium.objective,
        )


@pytest.mark.parametrize("name", SERVED)
def test_small_twin_trains_saves_reloads_samples_and_serves(name, tmp_path, others):
    folder = tmp_path / name
    train_a_little(name, folder)
    keras.backend.clear_session()
    for program in others:
        print(folder, file=program.stdin)
        assert program.stdout.readline() == "done\n"
    sampled, served = (np.load(folder / f"{how}.npy") for how in ("sampled", "served"))
    np.testing.assert_array_equal(sampled, served)
    converter = build_converter(get_config(f"{name}_tiny").converter)
    assert sampled.shape == (3, converter.window_steps, *converter.event_format.event_shape)
    for row in sampled:
        assert converter.decode(row).tempos[0].qpm == 120
