"""MelodyRNN (Magenta, 2016): LSTMs that continue a melody.

basic_rnn reads the last event; lookback_rnn also what came one and two bars before, and can repeat
it; attention_rnn reads pitch, direction and keys, can repeat, and attends to its last 40 outputs;
mono_rnn is basic_rnn over all MIDI pitches, in the melody's own key. Every configuration has a
small twin NAME_tiny, which trains in about a minute on two cores.

python -m magenta_lite.train --config=attention_rnn [--data=FOLDER]
"""

from __future__ import annotations

import dataclasses

from magenta_lite.config import (
    DataConfig,
    ExperimentConfig,
    GenerateConfig,
    TrainConfig,
    register,
)
from magenta_lite.encoders.event_sequences.melody import EventMelodyEncoderConfig
from magenta_lite.models.melody_rnn.config import MelodyRNNConfig, NextEventObjective


def tiny(config: ExperimentConfig) -> ExperimentConfig:
    """Returns a small twin of `config`, for tests and first tries."""
    length = 16 if config.model.attention_length else 0
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, max_steps=128),
        model=dataclasses.replace(config.model, units=(64, 64), attention_length=length),
        train=dataclasses.replace(
            config.train,
            steps=300,
            batch_size=32,
            learning_rate=3e-3,
            min_learning_rate=3e-3,
            checkpoint_every=100,
            validation_examples=128,
        ),
    )


def melody_rnn(name: str, encoder, attention_length: int = 0, clip_norm: float = 5.0) -> None:
    """Registers a configuration of the original, and its small twin, under `name`."""

    def config() -> ExperimentConfig:
        return ExperimentConfig(
            encoder=encoder,
            model=MelodyRNNConfig(units=(128, 128), attention_length=attention_length),
            objective=NextEventObjective(),
            data=DataConfig(source="folk"),
            train=TrainConfig(
                steps=20_000,
                batch_size=128,
                learning_rate=1e-3,
                learning_rate_decay=1.0,
                clip_norm=clip_norm,
                clip_per_variable=True,
            ),
            generate=GenerateConfig(temperature=1.0),
        )

    register(name)(config)
    register(f"{name}_tiny")(lambda: tiny(config()))


melody_rnn("basic_rnn", EventMelodyEncoderConfig(encoding="one_hot"))
melody_rnn("lookback_rnn", EventMelodyEncoderConfig(encoding="lookback"))
melody_rnn(
    "attention_rnn",
    EventMelodyEncoderConfig(encoding="key"),
    attention_length=40,
    clip_norm=3.0,
)
melody_rnn(
    "mono_rnn",
    EventMelodyEncoderConfig(encoding="one_hot", min_pitch=0, max_pitch=127, transpose_to_key=None),
)
