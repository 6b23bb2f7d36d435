"""The families of models, one folder each. Nothing that is imported here loads TensorFlow."""

from __future__ import annotations

from magenta_lite.modeling.family import FAMILIES

# Each folder registers its family, in the order in which families are presented.
# isort: off
from magenta_lite.families import music_vae
from magenta_lite.families import melody_rnn
from magenta_lite.families import music_transformer
from magenta_lite.families import musenet
from magenta_lite.families import vqvae
from magenta_lite.families import jukebox
# isort: on

__all__ = ["FAMILIES"]
