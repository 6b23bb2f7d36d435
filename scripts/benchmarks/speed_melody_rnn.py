"""Speed of training and generation of attention_rnn, compared with eager PyTorch.

python scripts/benchmarks/speed_melody_rnn.py [--torch_python=PATH] [--rounds=3]

Each measurement runs in a separate process, alternating between the two; the ratio is that of the
medians. Without PyTorch its columns are empty. No other programs should run at the same time.
"""

from __future__ import annotations

import time

import numpy as np
from speed import compare, training_seconds

# Case, batch size, events per melody, timed steps per process.
CASES = [
    ("train", 128, 128, 8),
    ("generate", 1, 1024, 4),
    ("generate", 128, 512, 4),
]


def measure_here(what: str, batch: int, events: int, steps: int) -> float:
    """Returns events per second of magenta_lite, measured in this process."""
    import keras
    import tensorflow as tf

    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.data.pipeline import Batches
    from magenta_lite.families.building import build_model
    from magenta_lite.training.trainer import compile_model

    config = get_config("attention_rnn", [f"converter.max_steps={events}"])
    converter = build_converter(config.converter)
    keras.utils.set_random_seed(0)
    model = build_model(config, converter)
    if what == "generate":
        generate = model.signatures()["generate"]
        arguments = {
            "primer": tf.constant([model.encoding.start_id]),
            "num_outputs": tf.constant(batch),
            "num_steps": tf.constant(events),
            "temperature": tf.constant(1.0),
            "top_k": tf.constant(0),
            "top_p": tf.constant(1.0),
            "seed": tf.constant(0),
        }
        generate(**arguments)
        began = time.perf_counter()
        for _ in range(steps):
            generate(**arguments)["events"].numpy()
        return batch * events * steps / (time.perf_counter() - began)

    compile_model(model, config.train)
    melodies = np.random.default_rng(0).integers(0, converter.depth, size=(1024, events))
    batches = Batches(
        events=melodies.astype(np.uint8),
        lengths=np.full(len(melodies), events, np.int32),
        batch_size=batch,
        seed=0,
        random_inputs=model.random_inputs(),
    ).dataset()
    return batch * events * steps / training_seconds(model, batches, steps)


if __name__ == "__main__":
    compare(__file__, __doc__, measure_here, CASES, "torch_melody_rnn.py", "events")
