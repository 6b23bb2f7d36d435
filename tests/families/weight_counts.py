"""The number of weights of priors and VQ-VAEs by a formula, without building the model."""

from __future__ import annotations

from magenta_lite.families.jukebox.config import JukeboxPriorConfig, TransformerSizes
from magenta_lite.families.vqvae.config import VQVAEConfig


def prior_weights(config: JukeboxPriorConfig) -> int:
    """Returns the number of weights without building the model; tied weights count once."""
    music, w = config.music, config.width
    total = music.vocabulary * w * (2 if config.merged else 1) + music.context_length * w
    total += _layers(music)
    total += (config.artists + config.genres + 3 * config.time_bins) * w
    if not config.labelled:
        total += w  # the start token
    if config.separate_lyrics:
        lyrics, v = config.lyric_encoder, config.lyric_width
        total += (1 + lyrics.vocabulary + lyrics.context_length) * v + _layers(lyrics)
        total += v * w + w + 2 * w + lyrics.vocabulary * w
    if config.conditioner_stages:
        c, stages = config.conditioner_width, config.conditioner_stages
        kernel = 2 * config.conditioner_stride
        residual = c * c * 3 + c + c * c + c
        total += config.codes * w + w * c * 3 + c + stages * config.conditioner_depth * residual
        total += (stages - 1) * (c * c * kernel + c) + c * w * kernel + w + 2 * w
    return total


def _layers(sizes: TransformerSizes) -> int:
    """Returns the number of weights of all layers of a transformer."""
    w, s, f = sizes.hidden_dim, sizes.attention_dim, sizes.filter_dim
    # Self-attention and cross attention have equally many.
    layer = 4 * w + 3 * (w * s + s) + s * w + w + 2 * w * f + f + w
    return sizes.num_layers * layer


def vqvae_weights(config: VQVAEConfig) -> dict[str, int]:
    """Returns the number of weights without building the model.

    Returns:
        `convolutions`, all weights that are trained by gradients (including the projections of
        factorised codes), and `codebooks`, the vectors of all codes.
    """
    snake, total = int(config.snake), 0
    for level in range(config.levels):
        width, code = config.width_of(level), config.code_width
        inside = int(config.residual_factor * width)
        block = width * inside * 3 + inside + inside * width + width + snake * (width + inside)
        residuals = config.depth_of(level) * block
        for b in range(level + 1):
            stages, kernel = config.downs[b], 2 * config.strides[b]
            enters = code if b else config.channels
            total += (enters + (stages - 1) * width) * width * kernel + stages * width
            total += stages * residuals + width * code * 3 + code
            total += code * width * 3 + width + stages * residuals
            total += ((stages - 1) * width + code) * width * kernel + (stages - 1) * width + code
        total += code * config.channels * 3 + config.channels
        if config.factorized_width:
            total += 2 * code * config.factorized_width + code + config.factorized_width
    books = config.levels * config.quantizers * config.codes * config.codebook_width
    return {"convolutions": total, "codebooks": books}
