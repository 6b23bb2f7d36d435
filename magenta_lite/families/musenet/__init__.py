"""MuseNet (Payne 2019)."""

from __future__ import annotations

from magenta_lite.families.musenet.config import MuseNetConfig, MuseNetObjective
from magenta_lite.families.musenet.options import MuseNetOptions
from magenta_lite.modeling.family import Family, register


def _model_class():
    from magenta_lite.families.musenet.model import MuseNet

    return MuseNet


register(
    Family(
        name="musenet",
        config_class=MuseNetConfig,
        objective_class=MuseNetObjective,
        options_class=MuseNetOptions,
        model_class=_model_class,
        about="minutes of music for chosen instruments",
        first_config="musenet_nano",
        shown_configs=("musenet_small",),
    )
)
