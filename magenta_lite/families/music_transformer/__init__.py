"""Music Transformer (Huang et al. 2018)."""

from __future__ import annotations

from magenta_lite.families.music_transformer.config import (
    MusicTransformerConfig,
    NextTokenObjective,
)
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.modeling.family import Family, register


def _model_class():
    from magenta_lite.families.music_transformer.model import MusicTransformer

    return MusicTransformer


register(
    Family(
        name="music_transformer",
        config_class=MusicTransformerConfig,
        objective_class=NextTokenObjective,
        options_class=MusicTransformerOptions,
        model_class=_model_class,
        about="piano, accompaniments, chorales",
        first_config="music_transformer_tiny",
        shown_configs=("music_transformer", "music_transformer_melody", "music_transformer_jsb"),
        aliases=("transformer", "score2perf"),
    )
)
