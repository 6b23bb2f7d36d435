"""The families of models, one folder each. Nothing that is imported here loads TensorFlow."""

from __future__ import annotations

from magenta_lite.families import (
    jukebox,
    jukebox_delay,
    melody_rnn,
    musenet,
    music_transformer,
    music_vae,
    vqvae,
)
from magenta_lite.families.family import Family

FAMILIES: dict[str, Family] = {
    room.FAMILY.name: room.FAMILY
    for room in (
        music_vae,
        melody_rnn,
        music_transformer,
        musenet,
        vqvae,
        jukebox,
        jukebox_delay,
    )
}
