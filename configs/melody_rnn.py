"""MelodyRNN (Magenta, 2016) and related LSTMs that continue music.

The input of basic_rnn is the last event; lookback_rnn also gets the events one and two bars before,
and can repeat them; attention_rnn gets pitch, direction and keys, can repeat, and attends to its
last 40 outputs; mono_rnn is basic_rnn over all MIDI pitches, without transposition to a fixed key.
drum_kit_rnn continues drums, one_drum a rhythm. basic_improv, attention_improv and
chord_pitches_improv generate melodies conditioned on chords; performance_with_dynamics generates
piano music, performance the same without dynamics. Every configuration has a small variant
NAME_tiny, which trains in a minute or two on two cores.

python -m magenta_lite.train --config=attention_rnn [--data=FOLDER]
"""

from __future__ import annotations

import dataclasses

from magenta_lite.config import DataConfig, ExperimentConfig, GenerateConfig, TrainConfig, register
from magenta_lite.converters.event_sequences.drums import EventDrumsConverterConfig
from magenta_lite.converters.event_sequences.melody import EventMelodyConverterConfig
from magenta_lite.converters.event_sequences.performance import EventPerformanceConverterConfig
from magenta_lite.families.melody_rnn.config import MelodyRNNConfig, NextEventObjective

ORIGINAL = {
    "steps": 20_000,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "learning_rate_decay": 1.0,
    "clip_norm": 3.0,
    "clip_per_variable": True,
}
COSINE = {"schedule": "cosine", "min_learning_rate": 5e-5, "warmup_steps": 100}
# Half an hour on two cores. A constant learning rate and a dropout of 0.5 need many more steps.
SHORT = COSINE | {
    "steps": 3000,
    "batch_size": 32,
    "learning_rate": 3e-3,
    # Norms of gradients are 0.02 to 0.2 here. Larger ones can keep a run at an n-gram's loss.
    "clip_norm": 0.1,
    "checkpoint_every": 300,
}
# Through three layers too little of the input arrives at the output for Glorot's initialization:
# without the gain, training ends at the frequencies of the events.
DEEP = {"initial_gain": 4.0}


def tiny(config: ExperimentConfig) -> ExperimentConfig:
    """Returns a small variant of `config`, for tests and first tries."""
    length = 16 if config.model.attention_length else 0
    drums = config.converter.kind == "event_drums"
    longest = "max_events" if hasattr(config.converter, "max_events") else "max_steps"
    return dataclasses.replace(
        config,
        converter=dataclasses.replace(config.converter, **{longest: 128}),
        model=dataclasses.replace(
            config.model,
            units=(64, 64),
            attention_length=length,
            dropout=min(config.model.dropout, 0.1),
        ),
        train=dataclasses.replace(
            config.train,
            steps=800,
            batch_size=32,
            schedule="cosine",
            learning_rate=5e-3,
            warmup_steps=1,
            initial_gain=4.0,
            checkpoint_every=200,
            validation_examples=128,
        ),
        # Lower temperatures, as models trained for a minute are too random, above all those of
        # drums, which have 512 classes.
        generate=dataclasses.replace(config.generate, temperature=0.7 if drums else 0.85),
    )


def event_rnn(
    *names: str,
    converter,
    model: MelodyRNNConfig,
    data: DataConfig,
    programs=(),
    recipe=COSINE,
    dropout=None,
    lookback_distances=None,
    **train,
) -> None:
    """Registers a configuration of the original, and its small variant, under `names`.

    Args:
        names: The original's name, and aliases.
        converter: Converter section.
        model: Model section.
        data: Data section.
        programs: General MIDI programs of the output; empty for the converter's own.
        recipe: Changes to the training section, unless --original is given.
        dropout: Dropout rate, unless --original is given.
        lookback_distances: Distances in steps, unless --original is given.
        train: Changes to the original's training section.
    """

    def config(original: bool = False) -> ExperimentConfig:
        settings, sizes = ORIGINAL | train, model
        if not original:
            settings = settings | recipe
            ours = {"dropout": dropout, "lookback_distances": lookback_distances}
            ours = {name: value for name, value in ours.items() if value is not None}
            sizes = dataclasses.replace(model, **ours)
        return ExperimentConfig(
            converter=converter,
            model=sizes,
            objective=NextEventObjective("label" if original else "event"),
            data=data,
            train=TrainConfig(**settings),
            generate=GenerateConfig(temperature=1.0, programs=programs, by_event=not original),
        )

    register(*names, original=lambda: config(original=True))(config)
    small = (f"{name}_tiny" for name in names)
    register(*small, original=lambda: tiny(config(original=True)))(lambda: tiny(config()))


# Melodies -----------------------------------------------------------------------------------

FIDDLE = (40,)  # a violin: the melodies are dance tunes
MELODIES = {
    "data": DataConfig(source="folk"),
    "programs": FIDDLE,
    "recipe": SHORT,
    "dropout": 0.1,
}

event_rnn(
    "basic_rnn",
    converter=EventMelodyConverterConfig(),
    model=MelodyRNNConfig(),
    clip_norm=5.0,
    **MELODIES,
)
event_rnn(
    "lookback_rnn",
    converter=EventMelodyConverterConfig(),
    model=MelodyRNNConfig(encoding="lookback"),
    clip_norm=5.0,
    **MELODIES,
)
event_rnn(
    "attention_rnn",
    converter=EventMelodyConverterConfig(),
    model=MelodyRNNConfig(attention_length=40, encoding="key"),
    lookback_distances=(12, 16, 24, 32, 48, 64, 96, 128),  # up to the parts of a tune
    **MELODIES,
)
event_rnn(
    "mono_rnn",
    converter=EventMelodyConverterConfig(min_pitch=0, max_pitch=127, transpose_to_key=None),
    model=MelodyRNNConfig(),
    clip_norm=5.0,
    **MELODIES,
)

# Drums --------------------------------------------------------------------------------------

DRUMS = {"data": DataConfig(source="arranged")}

event_rnn(
    "drum_kit_rnn",
    "drum_kit",
    converter=EventDrumsConverterConfig(classes="kit"),
    model=MelodyRNNConfig(units=(256, 256, 256), attention_length=32),
    recipe=COSINE | DEEP,
    **DRUMS,
)
event_rnn(
    "one_drum",
    converter=EventDrumsConverterConfig(classes="one", steps_per_quarter=2),
    model=MelodyRNNConfig(),
    clip_norm=5.0,
    **DRUMS,
)

# Melodies over chords, transposed to random keys -------------------------------------------------

LEAD_SHEETS = {
    "data": DataConfig(source="arranged:leads", transpose=(-6, 5)),
    "programs": FIDDLE,
    "dropout": 0.1,
}


def lead_sheets(chords: str) -> EventMelodyConverterConfig:
    """Returns the converter of melodies over chords."""
    return EventMelodyConverterConfig(chords=chords, transpose_to_key=None, min_unique_pitches=3)


event_rnn(
    "basic_improv",
    converter=lead_sheets("triads"),
    model=MelodyRNNConfig(units=(64, 64)),
    recipe=SHORT,
    clip_norm=5.0,
    **LEAD_SHEETS,
)
event_rnn(
    "attention_improv",
    converter=lead_sheets("triads"),
    model=MelodyRNNConfig(units=(128, 128, 128), attention_length=40, encoding="key"),
    recipe=SHORT | DEEP,
    **LEAD_SHEETS,
)
event_rnn(
    "chord_pitches_improv",
    converter=lead_sheets("pitches"),
    model=MelodyRNNConfig(units=(256, 256, 256)),
    recipe=SHORT | DEEP,
    **LEAD_SHEETS,
)

# Performances: all instruments except drums, merged ------------------------------------------

PERFORMANCES = {
    "model": MelodyRNNConfig(units=(512, 512, 512), dropout=0.0),
    "data": DataConfig(source="arranged", transpose=(-3, 3)),
    "batch_size": 64,
    "recipe": COSINE | DEEP,
}

event_rnn(
    "performance",
    converter=EventPerformanceConverterConfig(velocity_bins=0, merge_programs=True),
    **PERFORMANCES,
)
event_rnn(
    "performance_with_dynamics",
    converter=EventPerformanceConverterConfig(merge_programs=True),
    **PERFORMANCES,
)
