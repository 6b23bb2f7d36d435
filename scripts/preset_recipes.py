"""How each preset is trained: its configuration, its music, and what differs from the defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

FOLK = "fiddle tunes of Aird (1778), O'Neill (1850 tunes) and Ryan (1883), as encoded in music21"
OF_FOLK = "the tunes are in the public domain; their encodings state no terms"
CHORALES = "chorales by J. S. Bach, as encoded in music21, split by works"
OF_CHORALES = "the music is in the public domain; the encodings, of M. Cuthbert, state no terms"

FIDDLE, CHOIR = 40, 52  # General MIDI programs


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A preset before its training.

    Attributes:
        about: What the model does, in a few words.
        config: Name of its configuration.
        data: Value of `--data` of `train` and `evaluate`.
        music: The music of these data.
        licence: Terms of that music.
        metric: Name of the metric of `evaluate` by which weights are chosen on the validation
            split, less is better.
        settings: Values of `--set`, by key.
        flags: Flags of `generate` with which to try the preset.
        weaknesses: What the model is bad at.
    """

    about: str
    config: str
    data: str
    music: str
    licence: str
    metric: str
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()
    weaknesses: str = ""


RECIPES = {
    "folk_tunes": Recipe(
        about="writes and continues fiddle tunes",
        config="attention_rnn",
        data="folk",
        music=FOLK,
        licence=OF_FOLK,
        metric="melody_nll_per_step",
        settings={
            "train.steps": 3000,
            "train.batch_size": 32,
            "train.precision": "float32",
            "generate.programs": [FIDDLE],
        },
        flags=("--num_steps=256",),
        weaknesses=(
            "Parts end where their length says so rather than with a cadence, and the second part "
            "of a tune is often a variant of the first. Triplets are not on its grid of sixteenths."
        ),
    ),
    "folk_loops": Recipe(
        about="writes, reconstructs and interpolates two-bar melodies",
        config="cat-mel_2bar",
        data="folk",
        music=FOLK,
        licence=OF_FOLK,
        metric="nll_per_step",
        # A small KL weight: latent vectors hold the whole melody, and samples are drawn from the
        # Gaussian that is fitted to the posteriors.
        settings={
            "train.steps": 6000,
            "train.batch_size": 128,
            "train.schedule": "cosine",
            "train.learning_rate": 3e-3,
            "train.warmup_steps": 100,
            "train.precision": "float32",
            "objective.beta_rate": 0.99999,
            "objective.sampling_rate": 1000,
            "generate.programs": [FIDDLE],
        },
        weaknesses=(
            "It knows two bars of 4/4 only. At temperatures above 1 it leaves the key, and far "
            "from the middle of latent space melodies have few notes."
        ),
    ),
    "chorales": Recipe(
        about="writes, continues and harmonises four-part chorales",
        config="music_transformer_jsb",
        data="bach_chorales",
        music=CHORALES,
        licence=OF_CHORALES,
        metric="nll_per_token",
        settings={
            "train.steps": 8000,
            "train.batch_size": 4,
            "train.precision": "float32",
            "generate.programs": [CHOIR] * 4,
        },
        flags=("--num_outputs=2",),
        weaknesses=(
            "It has no words, fermatas or bar lines: phrases may begin and end at odd places, and "
            "a repeated note is written as a held one. It wanders from key to key after a minute."
        ),
    ),
}
