"""MuseNet (Payne 2019): many instruments in one stream of tokens, with full attention.

musenet_nano and musenet_tiny train on two cores, musenet_small on a laptop's GPU, musenet_base and
musenet_large on large GPUs. musenet_72 has the published 72 layers, 24 heads and context length of
4,096 tokens; its width was not published, and 1,536 is assumed here. Nor is it known whether its
embeddings were shared as they are here (model.factored).

python -m magenta_lite.train --config=musenet_tiny --data=FOLDER
"""

from __future__ import annotations

import functools

from magenta_lite.config import DataConfig, ExperimentConfig, GenerateConfig, TrainConfig, register
from magenta_lite.converters.musenet.converter import MuseNetConverterConfig
from magenta_lite.families.musenet.config import MuseNetConfig, MuseNetObjective

NANO = MuseNetObjective()
TINY = MuseNetObjective(critic=0.05, critic_every=250)  # too small to benefit from mixup
LARGE = MuseNetObjective(critic=0.05, mixup=0.2)


def musenet(
    layers: int,
    hidden_size: int,
    heads: int,
    context: int,
    dropout: float = 0.1,
    objective: MuseNetObjective = LARGE,
    original: bool = False,
    **train,
) -> ExperimentConfig:
    """Returns a config of MuseNet with the given sizes."""
    converter = {"merge_doubled": True, "places_by_time": True, "infill": 0.5, "controls": 0.5}
    converter = {} if original else converter
    return ExperimentConfig(
        converter=MuseNetConverterConfig(context, **converter),
        model=MuseNetConfig(layers, hidden_size, heads, context, dropout, factored=not original),
        objective=objective,
        data=DataConfig(source="arranged", transpose=(-6, 6), transpose_last=(-2, 2)),
        train=TrainConfig(
            **{
                "steps": 100_000,
                "batch_size": 8,
                "schedule": "cosine",
                "warmup_steps": 1000,
                "learning_rate": 3e-4,
                "min_learning_rate": 1e-5,
                "adam_beta_2": 0.95,
                "clip_norm": 1.0,
                "validation_examples": 64,
            }
            | train
        ),
        generate=GenerateConfig(temperature=1.0),
    )


QUICK = {
    "batch_size": 16,
    "warmup_steps": 50,
    "learning_rate": 3e-3,
    "min_learning_rate": 1e-4,
    "checkpoint_every": 100,
}


def sized(name: str, *sizes, **settings) -> None:
    """Registers a config of MuseNet; `--original` is what is known of the original."""
    make = functools.partial(musenet, *sizes, **settings)
    register(name, original=functools.partial(make, original=True))(make)


sized("musenet_nano", 2, 64, 4, 256, 0.0, NANO, steps=300, **QUICK)
sized("musenet_tiny", 4, 128, 4, 512, 0.0, TINY, steps=1000, **QUICK)
sized("musenet_small", 8, 512, 8, 2048)
sized("musenet_base", 24, 768, 12, 4096)
sized("musenet_large", 36, 1280, 20, 4096, recompute=True)
sized("musenet_72", 72, 1536, 24, 4096, recompute=True)
