"""Several codes a frame: from sound and a residual VQ-VAE to a prior, its numbers and its sound."""

import dataclasses
import os

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from processes import run

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.audio import Audio
from magenta_lite.converters.base import Report
from magenta_lite.datasets import open_data
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.jukebox.data import CodesData
from magenta_lite.families.jukebox.options import DelayPriorOptions
from magenta_lite.families.vqvae.coding import Coder
from magenta_lite.serving.saved_model import export_saved_model
from magenta_lite.training.run import load_encoder, load_run, write_imported_run
from magenta_lite.unfinished import Unfinished

RATE, HOP, CONTEXT, BOOKS = 4000, 16, 64, 3


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with sound in three splits, and the runs `vqvae`, not trained, and `prior`."""
    root, rng = tmp_path_factory.mktemp("delay"), np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        path = root / "music" / split / "a.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, 6000), RATE)
    config = get_config("rvqvae_tiny")
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, source=str(root / "music"))
    )
    converter = build_converter(config.converter)
    keras.utils.set_random_seed(0)
    model = build_model(config, converter)
    write_imported_run(config, converter, model, 0, root / "vqvae", "test")
    steps = ("--set=train.steps=2", "--set=train.checkpoint_every=2", "--set=train.warmup_steps=1")
    code, out, error = run(
        "magenta_lite.train",
        "--config=jukebox_delay_tiny",
        f"--vqvae={root / 'vqvae'}",
        f"--run_dir={root / 'prior'}",
        f"--data_dir={root / 'data'}",
        *steps,
    )
    assert code == 0, out + error
    return root


@pytest.fixture(scope="module")
def loaded(place):
    """Returns the run of the prior, and what codes sound."""
    return load_run(place / "prior"), Coder(load_run(place / "vqvae").model)


def test_a_trained_prior_reads_writes_and_is_served(place, loaded):
    prior, coder = loaded
    examples = open_data(prior.config, load_encoder(prior.config), str(place / "data")).split(
        "test"
    )
    sound, _ = soundfile.read(place / "music" / "test" / "a.wav", dtype="int16")
    (codes,) = coder.encode(sound[:, None])
    assert codes.shape == (6000 // HOP, BOOKS) and len(np.unique(codes)) > 8
    np.testing.assert_array_equal(examples.events[1], codes[16 : 16 + CONTEXT])
    numbers = prior.model.measure(examples, 0)
    assert 4 < numbers["bits_per_code"] < 6 and 0 <= numbers["accuracy"] < 1
    assert numbers["codes_per_second"] == 750

    export_saved_model(prior, place / "served")
    sample = tf.saved_model.load(str(place / "served" / "1")).signatures["sample"]
    given = tf.constant(codes[None, :5])
    settings = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 0}
    settings = {name: tf.constant(value) for name, value in settings.items()}
    served = sample(given=given, num_codes=tf.constant(9), **settings)["codes"]
    assert served.shape == (1, 9, BOOKS)
    np.testing.assert_array_equal(served[:, :5], given)


def test_a_sound_that_is_interrupted_goes_on_and_ends_as_one_that_is_not(place, loaded):
    prior, coder = loaded
    sound = soundfile.read(place / "music" / "test" / "a.wav", dtype="float32")[0][:, None]
    kept = place / "kept-seed0.codes.npz"

    def request():
        left = Unfinished(place, "kept", 0, seed_given=True)
        inputs = [("a", Audio(sound, RATE))]
        asked = DelayPriorOptions("continue", inputs, num_outputs=2, unfinished=left)
        return dataclasses.replace(asked, total_seconds=0.5, prompt_seconds=0.1)

    def sounds(asked):
        outputs = prior.pieces(asked)
        os.close(asked.unfinished._lock._file)  # as when the process ends
        return [output["level-0"].samples for output in outputs]

    whole = sounds(request())
    assert [each.shape for each in whole] == [(RATE // 2, 1)] * 2
    with np.load(kept) as arrays:
        asked, codes = arrays["asked"], arrays["0"]
    prompt = coder.encode(sound[: 400 // HOP * HOP])[0]
    np.testing.assert_array_equal(codes[:, : len(prompt)], np.stack([prompt, prompt]))
    assert not np.array_equal(codes[0], codes[1])
    np.savez_compressed(kept, asked=asked, seed=0, **{"0": codes[:, : CONTEXT + 8]})
    np.testing.assert_array_equal(sounds(request()), whole)


def test_pieces_are_cut_into_contexts_of_frames():
    config, report = get_config("jukebox_delay_tiny"), Report()
    codes = np.arange(100 * BOOKS).reshape(100, BOOKS)
    pieces = [("long", [codes]), ("short", [codes[:63]])]
    examples = CodesData().examples(config, pieces, {}, report)
    assert examples.events.shape == (4, CONTEXT, BOOKS) and examples.pieces == ["long"] * 4
    starts = [0, 16, 32, 36]
    np.testing.assert_array_equal(examples.events[:, 0, 0], np.multiply(starts, BOOKS))
    assert report.places == {"sound shorter than a context, 64 codes or 0.3 s": ["short"]}
    assert CodesData().examples(config, [], {}, report).events.shape == (0, CONTEXT, BOOKS)


def test_a_vqvae_of_the_other_kind_is_refused(tmp_path):
    for vqvae, prior, words in (
        ("vqvae_tiny", "jukebox_delay_tiny", "as one, and jukebox_delay_tiny models 3"),
        ("rvqvae_tiny", "jukebox_prior_tiny", "as 3 codes, and jukebox_prior_tiny models one"),
    ):
        config = get_config(prior, [f"converter.vqvae={tmp_path}"])
        with pytest.raises(UserError, match=words):
            CodesData().completed(config, get_config(vqvae), lambda data: {})


def test_upsamplers_mean_nothing_to_it(place):
    code, _, error = run("magenta_lite.generate", f"--run_dir={place / 'prior'}", "--upsamplers=x")
    assert code == 2 and "--upsamplers means nothing to this jukebox_delay model" in error
