"""Speed of a Music Transformer, compared with Hugging Face's GPT-2 of the same size.

python scripts/benchmarks/speed_music_transformer.py [--torch_python=PATH] [--rounds=3]

Both have 4 layers, a width of 256, 8 heads and 512 tokens; only the Music Transformer has relative
attention. Each measurement runs in a separate process, alternating between the two; the ratio is
that of the medians. Without PyTorch and transformers the columns of GPT-2 are empty. No other
programs should run at the same time.
"""

from __future__ import annotations

import time

import numpy as np
from speed import compare, training_seconds

# Case, batch size, tokens per piece, timed steps per process.
CASES = [
    ("train", 8, 512, 6),
    ("train bfloat16", 8, 512, 6),
    ("generate", 1, 512, 4),
    ("generate", 8, 512, 4),
]
SETTINGS = (
    "model.layers=4",
    "model.hidden_size=256",
    "model.key_size=256",
    "model.heads=8",
    "model.filter_size=1024",
    "model.max_relative_position=512",
    "model.positions=512",
    "converter.crop=512",
)


def measure_here(what: str, batch: int, tokens: int, steps: int) -> float:
    """Returns tokens per second of magenta_lite, measured in this process."""
    import keras
    import tensorflow as tf

    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.data.pipeline import Batches
    from magenta_lite.families.building import build_model
    from magenta_lite.modeling import decoding
    from magenta_lite.modeling.sampling import Sampler
    from magenta_lite.training.trainer import compile_model

    config = get_config("music_transformer", list(SETTINGS))
    converter = build_converter(config.converter)
    keras.utils.set_random_seed(0)
    precision = "mixed_bfloat16" if what.endswith("bfloat16") else "float32"
    model = build_model(config, converter, precision)
    if what == "generate":
        nothing = tf.zeros([0], tf.int32)

        @tf.function
        def sample(seed):
            return decoding.sample(model, nothing, batch, tokens, seed, Sampler())[0]

        sample(tf.constant(0)).numpy()
        began = time.perf_counter()
        for i in range(steps):
            sample(tf.constant(i)).numpy()
        return batch * tokens * steps / (time.perf_counter() - began)

    compile_model(model, config.train)
    events = np.random.default_rng(0).integers(1, 310, size=(64, tokens)).astype(np.uint16)
    batches = Batches(
        events,
        np.full(64, tokens, np.int32),
        batch_size=batch,
        seed=0,
        random_inputs=model.random_inputs(),
    )
    return batch * tokens * steps / training_seconds(model, batches.dataset(), steps)


if __name__ == "__main__":
    compare(__file__, __doc__, measure_here, CASES, "torch_gpt2.py", "tokens")
