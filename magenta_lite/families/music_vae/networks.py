"""The encoder and the decoder network that a config describes."""

from __future__ import annotations

import math
from typing import Any

from magenta_lite.converters.base import EventFormat
from magenta_lite.errors import UserError
from magenta_lite.families.music_vae.config import MusicVAEConfig
from magenta_lite.families.music_vae.decoder_lstms import Conductor, LSTMDecoder
from magenta_lite.families.music_vae.decoders import Decoder
from magenta_lite.families.music_vae.encoders import BidirectionalEncoder, HierarchicalEncoder
from magenta_lite.families.music_vae.expression import Expression
from magenta_lite.families.music_vae.heads import Categorical, Head, HitHead
from magenta_lite.families.music_vae.inputs import control_size, input_size


def check_sizes(events: EventFormat, length: int, sizes: MusicVAEConfig) -> None:
    """Raises: UserError if the sizes do not fit events of this format, or `length` steps."""
    if length % sizes.segments:
        raise UserError(
            f"model.segments={sizes.segments} does not divide the {length} steps of an example"
        )
    if sizes.encoder_levels and math.prod(sizes.encoder_levels) != length:
        raise UserError(
            f"model.encoder_levels={list(sizes.encoder_levels)} must multiply to the {length} "
            "steps of an example"
        )
    if sizes.decoder_per_part and events.kind != "multi_categorical":
        raise UserError("model.decoder_per_part=true needs events of several parts, such as trios")


def make_encoder(
    events: EventFormat, sizes: MusicVAEConfig, dtype: Any
) -> BidirectionalEncoder | HierarchicalEncoder:
    """Returns the encoder of events of this format; `dtype` is its policy."""
    width = input_size(events) + control_size(events)
    of_keras: dict[str, Any] = {"name": "encoder", "dtype": dtype}
    if sizes.encoder_levels:
        return HierarchicalEncoder(sizes.encoder_levels, sizes.encoder_units, width, **of_keras)
    return BidirectionalEncoder(sizes.encoder_units, width, **of_keras)


def make_decoder(
    events: EventFormat, length: int, sizes: MusicVAEConfig, head: Head, dtype: Any
) -> Decoder:
    """Returns the decoder of `length` steps with the output head of the events."""
    units, code_size, conductor, expression = sizes.decoder_units, sizes.latent_size, None, None
    if sizes.segments > 1:
        conductor = Conductor(units, sizes.segments, code_size, name="conductor", dtype=dtype)
        code_size = units[-1]
    heads = [head]
    if sizes.expression_units:
        of_groove = sizes.expression_units, head, sizes.latent_size
        expression = Expression(*of_groove, name="expression", dtype=dtype)
        heads = [HitHead(events.sizes[0])]
    if sizes.decoder_per_part:
        heads = [Categorical(size) for size in events.sizes]
    of_core = code_size, control_size(events)
    cores = [
        LSTMDecoder(units, head, *of_core, name=f"core_{k}", dtype=dtype)
        for k, head in enumerate(heads)
    ]
    return Decoder(cores, length, conductor, events.end_id, expression, name="decoder", dtype=dtype)
