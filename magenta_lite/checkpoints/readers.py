"""Readers of the published checkpoints of each family."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from magenta_lite.checkpoints import (
    jukebox,
    melody_rnn,
    music_transformer,
    music_vae,
    tf1,
    torch_files,
    vqvae,
)


@dataclasses.dataclass(frozen=True)
class CheckpointReader:
    """Functions that read the published checkpoints of a family.

    Attributes:
        load_weights: Loads the weights of an open checkpoint into a model.
        open: Opens a checkpoint by its path, as weights by name with a `global_step`.
        fitted_config: Returns a config with the model sizes of an open checkpoint.
        licence: Restrictions on the use of the weights; empty without any.
    """

    load_weights: Callable[[Any, Any], None]
    open: Callable[[str], AbstractContextManager[Any]] = tf1.open_checkpoint
    fitted_config: Callable[[Any, Any, Any], Any] = lambda config, converter, variables: config
    licence: str = ""


READERS: dict[str, CheckpointReader] = {
    "music_vae": CheckpointReader(music_vae.load_weights),
    "melody_rnn": CheckpointReader(
        melody_rnn.load_weights, melody_rnn.open_checkpoint, melody_rnn.fitted_config
    ),
    "music_transformer": CheckpointReader(
        music_transformer.load_weights, fitted_config=music_transformer.fitted_config
    ),
    "vqvae": CheckpointReader(
        vqvae.load_weights, torch_files.open_checkpoint, vqvae.fitted_config, vqvae.LICENCE
    ),
    "jukebox": CheckpointReader(
        jukebox.load_weights, torch_files.open_checkpoint, jukebox.fitted_config, vqvae.LICENCE
    ),
}
