"""Trains small models of the MusicVAE family on made-up events, for the tests; also a program.

python family_run.py OUTPUT.npz CONFIG [section.key=value ...]

As a program it trains on two replicas, which are two logical CPUs, and writes the weights.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

STEPS = 5
ROWS = 16
SMALL = (
    "model.latent_size=8",
    "model.encoder_units=[12]",
    "model.decoder_units=[12,12]",
    f"train.batch_size={ROWS}",
    f"train.steps={STEPS}",
    f"train.checkpoint_every={STEPS}",
    "train.validation_examples=0",
)
# With a conductor; 4 bars are 16, but for the waiting.
CONDUCTED = ("hierdec-mel_16bar_tiny", "converter.bars=4", "model.segments=4")


class MadeUpCollection:
    """Random events of a converter in place of a built data set."""

    name = "made up"

    def __init__(self, converter):
        self.converter = converter
        self.sizes = {"train": 3 * ROWS, "validation": ROWS, "test": 0}

    def split(self, name: str):
        from magenta_lite.data.collections import Examples
        from magenta_lite.testing.events import made_up_events

        size, steps = self.sizes[name], self.converter.window_steps
        events = made_up_events(self.converter.event_format, size, steps, seed=size)
        return Examples(events, np.full(size, steps, np.int32), None)


def weights_after(config: str, *overrides: str, strategy=None) -> list[np.ndarray]:
    """Returns the weights after `STEPS` steps of training."""
    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.training.trainer import train

    settings = get_config(config, (*SMALL, *overrides))
    with tempfile.TemporaryDirectory() as folder:
        collection = MadeUpCollection(build_converter(settings.converter))
        model = train(settings, Path(folder) / "run", collection, strategy)
    return model.get_weights()


def main() -> None:
    output, config, *overrides = sys.argv[1:]
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from magenta_lite.training.strategy import make_strategy

    strategy = make_strategy("mirrored")
    assert strategy.num_replicas_in_sync == 2
    np.savez(output, *weights_after(config, *overrides, strategy=strategy))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
