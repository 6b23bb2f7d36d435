"""Generation with a VQ-VAE: reconstruction of sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magenta_lite.converters.audio import Audio
from magenta_lite.families.vqvae.coding import Coder

if TYPE_CHECKING:
    from magenta_lite.converters.audio import AudioConverter
    from magenta_lite.families.vqvae.model import VQVAE
    from magenta_lite.families.vqvae.options import VQVAEOptions


def generate(
    model: VQVAE, options: VQVAEOptions, converter: AudioConverter
) -> list[dict[str, Audio]]:
    """Returns for each input the `original`, and its reconstructions `level-0`, `level-1` …

    Raises:
        UserError: If there is no input.
    """
    options.check(converter)
    coder, outputs = Coder(model), []
    for _, audio in options.inputs:
        sounds = {"original": audio}
        for level, codes in enumerate(coder.encode(audio.samples)):
            heard = coder.decode(codes, level)[: len(audio.samples)]
            sounds[f"level-{level}"] = Audio(heard, audio.sample_rate)
        outputs.append(sounds)
    return outputs
