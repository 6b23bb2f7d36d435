"""Music Transformer (Huang et al. 2018): piano performances with self-attention.

music_transformer is the original's t_rel_len2048_h384_att512_fs1024_n6_dropout10, whose other sets
of sizes are registered under their original names. music_transformer_16 has the sizes of the
released unconditional model, which has absolute attention. music_transformer_melody accompanies
melodies. music_transformer_jsb generates chorales; its baseline has absolute instead of relative
attention. music_transformer_tiny trains in minutes on two cores.

python -m magenta_lite.train --config=music_transformer --data=FOLDER
"""

from __future__ import annotations

import dataclasses
import functools

from magenta_lite.config import DataConfig, ExperimentConfig, GenerateConfig, TrainConfig, register
from magenta_lite.converters.chorale import ChoraleConverterConfig
from magenta_lite.converters.melody_performance import MelodyPerformanceConverterConfig
from magenta_lite.converters.performance import PerformanceConverterConfig
from magenta_lite.families.music_transformer.config import (
    MusicTransformerConfig,
    NextTokenObjective,
)

WARM_UP = 8000


def noam_peak(hidden: int) -> float:
    """Returns the peak learning rate of the schedule of Vaswani et al. 2017 with a factor of 2."""
    return 2 * (hidden * WARM_UP) ** -0.5


def performances(
    crop: int = 2048,
    smoothing: float = 0.0,
    end_token: bool = False,
    infill: float = 0.0,
    train=None,
    **sizes,
) -> ExperimentConfig:
    """Returns a config for performances with the given sizes and the original's training."""
    model = MusicTransformerConfig(**({"positions": crop} | sizes))
    return ExperimentConfig(
        converter=PerformanceConverterConfig(crop=crop, end_token=end_token, infill=infill),
        model=model,
        objective=NextTokenObjective(smoothing),
        data=DataConfig(source="rendered", transpose=(-3, 3)),
        train=TrainConfig(
            **{
                "steps": 200_000,
                "batch_size": 8,
                "schedule": "noam",
                "warmup_steps": WARM_UP,
                "learning_rate": noam_peak(model.hidden_size),
                "adam_beta_2": 0.997,
                "adam_epsilon": 1e-9,
                "clip_norm": 0.0,
                "validation_examples": 64,
            }
            | (train or {})
        ),
        generate=GenerateConfig(temperature=1.0),
    )


def with_gaps(*names: str):
    """Decorator that registers a function of `infill`; half of the examples have gaps.

    With `--original` none has.
    """

    def wrap(function):
        register(*names, original=function)(functools.partial(function, 0.5))
        return function

    return wrap


@with_gaps("music_transformer", "t_rel_len2048_h384_att512_fs1024_n6_dropout10")
def music_transformer(infill: float = 0.0) -> ExperimentConfig:
    """Six layers, relative distances up to 1,024 tokens."""
    return performances(infill=infill)


@with_gaps("music_transformer_tiny")
def music_transformer_tiny(infill: float = 0.0) -> ExperimentConfig:
    """A small variant of music_transformer."""
    return performances(
        crop=256,
        infill=infill,
        layers=2,
        hidden_size=64,
        key_size=64,
        filter_size=128,
        heads=4,
        max_relative_position=128,
        train={
            "steps": 300,
            "batch_size": 16,
            "schedule": "cosine",
            "warmup_steps": 50,
            "learning_rate": 3e-3,
            "min_learning_rate": 1e-4,
            "checkpoint_every": 100,
        },
    )


def accompaniments(config: ExperimentConfig, **converter) -> ExperimentConfig:
    """Returns `config` with the converter for pairs of a melody and a performance."""
    return dataclasses.replace(config, converter=MelodyPerformanceConverterConfig(**converter))


@register("music_transformer_melody")
def music_transformer_melody() -> ExperimentConfig:
    """Performances conditioned on melodies, with the sizes of music_transformer."""
    return accompaniments(performances())


@register("music_transformer_melody_tiny")
def music_transformer_melody_tiny() -> ExperimentConfig:
    """A small variant of music_transformer_melody."""
    tiny = music_transformer_tiny()
    return accompaniments(
        tiny, max_tokens=256, max_seconds=10.0, min_seconds=3.0, passes=1, stretches=(1.0,)
    )


def chorales(
    attention: str, steps: int = 8000, dropout: float = 0.1, trained_context: bool = True
) -> ExperimentConfig:
    """Returns a config for JSB Chorales, sized for two CPU cores."""
    config = performances(
        train={
            "steps": steps,
            "batch_size": 4,
            "schedule": "cosine",
            "warmup_steps": 100,
            "learning_rate": 2e-3,
            "min_learning_rate": 1e-5,
            "clip_norm": 1.0,
            "adam_beta_2": 0.98,
            "checkpoint_every": 350,
            "validation_examples": 256,  # all
        },
        layers=5,
        hidden_size=192,
        key_size=192,
        filter_size=512,
        heads=4,
        max_relative_position=512,
        dropout=dropout,
        positions=1024,
        attention=attention,
    )
    return dataclasses.replace(
        config,
        converter=ChoraleConverterConfig(crop=512),
        data=DataConfig(source="jsb_chorales", transpose=(-3, 3)),
        generate=GenerateConfig(temperature=1.0, qpm=90.0, trained_context=trained_context),
    )


def jsb(name: str, attention: str) -> None:
    """Registers a config for chorales; with `--original` a short run, which does not overfit."""
    short = functools.partial(chorales, attention, steps=1750, dropout=0.0, trained_context=False)
    register(name, original=short)(functools.partial(chorales, attention))


jsb("music_transformer_jsb", "relative")
jsb("music_transformer_jsb_baseline", "absolute")


def sized(*names: str, **changes) -> None:
    """Registers a config with other sizes."""
    register(*names)(lambda: performances(**changes))


for percent in (10, 15, 20):
    sized(
        f"t_rel_len2048_h384_att512_fs1024_n8_dropout{percent}",
        layers=8,
        dropout=percent / 100,
    )
sized("t_rel_len2048_h384_att512_fs1024_n6_dropout15", dropout=0.15)
sized("t_rel_len2048_h384_att512_fs1024_n10_dropout30", layers=10, dropout=0.3)
for layers in (6, 8):
    sized(f"t_rel_len2048_h512_att512_fs1024_n{layers}_dropout10", layers=layers, hidden_size=512)
sized(
    "t_rel_len2048_dropout15_tiny",
    layers=8,
    hidden_size=128,
    filter_size=512,
    heads=4,
    dropout=0.15,
)
sized("t_len2048_h384_att512_fs1024_n8_dropout15", layers=8, attention="absolute", dropout=0.15)
sized("t_len2048_h384_att512_fs1024_n8_dropout20", layers=8, attention="absolute", dropout=0.2)
sized("t_len2048_h384_att512_fs1024_n10_dropout30", layers=10, attention="absolute", dropout=0.3)
# Six layers, in spite of its name.
sized(
    "t_rel_len1024_h384_att512_fs1024_n2_dropout15",
    crop=1024,
    max_relative_position=512,
    dropout=0.15,
)


def original_16() -> ExperimentConfig:
    """The released unconditional model: 16 layers, absolute attention, Adafactor."""
    config = performances(
        crop=2048,
        smoothing=0.1,
        end_token=True,
        layers=16,
        hidden_size=512,
        filter_size=2048,
        attention="absolute",
        tie_embeddings=True,
    )
    train = dataclasses.replace(
        config.train,
        optimizer="adafactor",
        schedule="rsqrt",
        learning_rate=1e-2,
        warmup_steps=10_000,
    )
    model = dataclasses.replace(config.model, positions=4096)
    return dataclasses.replace(config, model=model, train=train)


@register("music_transformer_16", "unconditional_model_16", original=original_16)
def music_transformer_16() -> ExperimentConfig:
    """The same, which has as much in sight when it writes as in its training."""
    config = original_16()
    generate = dataclasses.replace(config.generate, trained_context=True)
    return dataclasses.replace(config, generate=generate)


@register("music_transformer_melody_16", "melody_conditioned_model_16")
def music_transformer_melody_16() -> ExperimentConfig:
    """The released melody-conditioned model: 16 + 16 layers, absolute attention."""
    config = accompaniments(original_16())
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, tie_embeddings=False)
    )
