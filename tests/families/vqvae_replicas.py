"""Trains a small VQ-VAE on one replica and on two, which are two logical CPUs; for the tests.

python vqvae_replicas.py OUTPUT.npz

Writes weights and last metrics: REPLICAS/PLACE. A batch has more rows than there are codes, one
replica fewer.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import numpy as np

STEPS, ROWS, CROP = 3, 4, 320


def small_config():
    from magenta_lite.families.vqvae.config import VQVAEConfig

    return VQVAEConfig(
        (1,),
        (4,),
        code_width=4,
        codes=240,
        width=4,
        depth=1,
        quantizers=2,
        quantizer_dropout=0.5,
        reset_restarted=True,
        k_means_steps=2,
    )


def trained(strategy):
    """Returns model and logs after `STEPS` steps."""
    import keras

    from magenta_lite.config import TrainConfig
    from magenta_lite.data.collections import Examples
    from magenta_lite.data.pipeline import Batches
    from magenta_lite.families.vqvae.config import VQVAEObjective
    from magenta_lite.families.vqvae.model import VQVAE
    from magenta_lite.training.trainer import compile_model

    objective = VQVAEObjective(
        fft_sizes=(128,), fft_hops=(32,), fft_windows=(96,), stft=(128, 32, 96), linf_count=100
    )
    rng = np.random.default_rng(0)
    sounds = rng.normal(0, 0.1, (2 * ROWS, CROP, 1)).cumsum(axis=1)
    sounds = np.clip(1000 * sounds, -(2**15), 2**15 - 1).astype(np.int16)
    keras.utils.set_random_seed(1)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = VQVAE(small_config(), objective, CROP, 8000)
        compile_model(model, TrainConfig(learning_rate=1e-3, learning_rate_decay=1.0))
    examples = Examples(sounds, np.full(len(sounds), CROP, np.int32), None)
    model.prepare(0, examples, seed=0)
    batches = Batches(
        sounds, examples.lengths, batch_size=ROWS, seed=0, random_inputs=model.random_inputs()
    )
    history = model.fit(
        batches.dataset(strategy=strategy), steps_per_epoch=STEPS, verbose=0, shuffle=False
    )
    return model, {name: values[-1] for name, values in history.history.items()}


def main() -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from magenta_lite.training.strategy import make_strategy

    arrays = {}
    for replicas, name in ((1, "none"), (2, "mirrored")):
        strategy = make_strategy(name)
        assert (strategy.num_replicas_in_sync if strategy else 1) == replicas
        model, logs = trained(strategy)
        for i, weight in enumerate(model.weights):
            values = strategy.experimental_local_results(weight.value) if strategy else [weight]
            for copy in values:  # the same on all replicas
                np.testing.assert_array_equal(copy.numpy(), values[0].numpy())
            arrays[f"{replicas}/{i:03d} {weight.path}"] = values[0].numpy()
        arrays |= {f"{replicas}/logs/{name}": value for name, value in logs.items()}
    np.savez(sys.argv[1], **arrays)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
