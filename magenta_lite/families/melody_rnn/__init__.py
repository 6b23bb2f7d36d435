"""MelodyRNN and its siblings: Drums RNN, Improv RNN, Performance RNN."""

from __future__ import annotations

from magenta_lite.families.melody_rnn.config import MelodyRNNConfig, NextEventObjective
from magenta_lite.families.melody_rnn.options import MelodyRNNOptions
from magenta_lite.modeling.family import Family, register


def _model_class():
    from magenta_lite.families.melody_rnn.model import MelodyRNN

    return MelodyRNN


register(
    Family(
        name="melody_rnn",
        config_class=MelodyRNNConfig,
        objective_class=NextEventObjective,
        options_class=MelodyRNNOptions,
        model_class=_model_class,
        about="continues melodies, drums, performances",
        first_config="attention_rnn_tiny",
        shown_configs=(
            "attention_rnn",
            "attention_improv",
            "drum_kit_rnn",
            "performance_with_dynamics",
        ),
        aliases=("drums_rnn", "improv_rnn", "performance_rnn", "rnn"),
    )
)
