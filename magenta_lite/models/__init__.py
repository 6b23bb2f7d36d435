"""The models as Keras classes; importing them lets Keras load every `.keras` file of a run."""

import keras

from magenta_lite.families.jukebox.delay import DelayPrior
from magenta_lite.families.jukebox.model import JukeboxPrior, JukeboxUpsampler
from magenta_lite.families.melody_rnn.model import MelodyRNN
from magenta_lite.families.musenet.model import MuseNet
from magenta_lite.families.music_transformer.model import MusicTransformer
from magenta_lite.families.music_vae.model import MusicVAE
from magenta_lite.families.vqvae.model import VQVAE

# Registered for files of models that were compiled.
from magenta_lite.modeling import optimizers as _optimizers  # noqa: F401
from magenta_lite.modeling import schedules as _schedules  # noqa: F401

for _model in (
    DelayPrior,
    JukeboxPrior,
    JukeboxUpsampler,
    MelodyRNN,
    MuseNet,
    MusicTransformer,
    MusicVAE,
    VQVAE,
):
    # Their name in files of version 0.1.0, before their packages were those of the families.
    keras.saving.get_custom_objects()[f"magenta_lite>{_model.__name__}"] = _model

__all__ = [
    "VQVAE",
    "DelayPrior",
    "JukeboxPrior",
    "JukeboxUpsampler",
    "MelodyRNN",
    "MuseNet",
    "MusicTransformer",
    "MusicVAE",
]
