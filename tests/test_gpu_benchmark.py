"""scripts/benchmarks/gpu.py: batches for every family, and the table."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model

BENCHMARKS = Path(__file__).parents[1] / "scripts" / "benchmarks"
CONFIGS = (
    "groovae_2bar_humanize_tiny",
    "cat-mel_2bar_med_chords_tiny",
    "attention_improv_tiny",
    "music_transformer_tiny",
    "musenet_nano",
    "vqvae_tiny",
    "jukebox_prior_tiny",
    "jukebox_upsampler_tiny",
    "jukebox_delay_mini",
)


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import gpu

        yield gpu


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_can_be_called_with_a_random_batch(gpu, name):
    config = get_config(name)
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    batch = gpu.random_batch(model, config, converter, 2)
    outputs = model({key: tf.constant(x) for key, x in batch.items()}, training=True)
    for x in keras.tree.flatten(outputs):
        assert np.isfinite(tf.cast(x, tf.float32)).all()


def test_a_row_for_each_measurement_even_without_time():
    command = [sys.executable, BENCHMARKS / "gpu.py", "--minutes=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| train", "| generate"))]
    assert len(rows) == 11 * 6
    assert all("no time left" in row for row in rows)
