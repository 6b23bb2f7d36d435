"""The network of vqvae_mini in eager PyTorch, for speed comparisons.

Run by speed_jukebox.py: python torch_vqvae.py {train|code} BATCH STEPS

Needs `pip install torch vector-quantize-pytorch`; imports nothing from magenta_lite. The metrics
that magenta_lite's steps include are omitted.

Shape letters: B batch, T samples, S codes = T / hop length, W width, F frequencies, N frames.
"""

from __future__ import annotations

import functools
import os
import sys
import time

import torch
from torch import nn
from vector_quantize_pytorch import VectorQuantize

RATE, CROP, SECONDS, CLIPS = 16_000, 8192, 10, 64
DOWNS, WIDTH, DILATIONS, CODES = (3, 2), 32, (1, 3), 256
WEIGHTS = 210_050  # excluding codebooks
LARGEST, LINF, COMMITMENT = 2048, 0.02, 0.02
# FFT size, hop length and window length in samples.
RESOLUTIONS = ((2048, 240, 1200), (1024, 120, 600), (512, 50, 240))
MEASURED = (2048, 256, 1536)


class Residual(nn.Module):
    """x + Conv1(ReLU(Conv3(ReLU(x)))), float (B, W, S)."""

    def __init__(self, dilation: int):
        super().__init__()
        self.inside = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(WIDTH, WIDTH, 1),
        )

    def forward(self, x):
        return x + self.inside(x)


def encoder(level: int) -> nn.Sequential:
    """Returns an encoder from sound (B, 1, T) to float (B, W, S)."""
    layers, inputs = [], 1
    for stages in DOWNS[: level + 1]:
        for _ in range(stages):
            layers.append(nn.Conv1d(inputs, WIDTH, 4, stride=2, padding=1))
            layers += [Residual(dilation) for dilation in DILATIONS]
            inputs = WIDTH
        layers.append(nn.Conv1d(WIDTH, WIDTH, 3, padding=1))
    return nn.Sequential(*layers)


def decoder(level: int) -> nn.Sequential:
    """Returns a decoder from float (B, W, S) to sound (B, 1, T)."""
    layers = []
    for stages in reversed(DOWNS[: level + 1]):
        layers.append(nn.Conv1d(WIDTH, WIDTH, 3, padding=1))
        for _ in range(stages):
            layers += [Residual(dilation) for dilation in reversed(DILATIONS)]
            layers.append(nn.ConvTranspose1d(WIDTH, WIDTH, 4, stride=2, padding=1))
    return nn.Sequential(*layers, nn.Conv1d(WIDTH, 1, 3, padding=1))


def quantizer() -> VectorQuantize:
    """Returns a codebook with EMA updates and the straight-through gradient."""
    return VectorQuantize(
        dim=WIDTH,
        codebook_size=CODES,
        decay=0.99,
        threshold_ema_dead_code=1,
        commitment_weight=COMMITMENT,
        channel_last=False,
        rotation_trick=False,
    )


class TorchVQVAE(nn.Module):
    """Encoder, codebook and decoder of each level.

    Raises:
        ValueError: If the number of weights differs from that of vqvae_mini.
    """

    def __init__(self):
        super().__init__()
        levels = range(len(DOWNS))
        self.encoders = nn.ModuleList(encoder(level) for level in levels)
        self.quantizers = nn.ModuleList(quantizer() for _ in levels)
        self.decoders = nn.ModuleList(decoder(level) for level in levels)
        weights = sum(weight.numel() for weight in self.parameters())
        if weights != WEIGHTS:
            raise ValueError(f"{weights:,} weights, vqvae_mini has {WEIGHTS:,}")

    def forward(self, sound):
        """Returns reconstructions (levels * B, 1, T) and the commitment loss of sound (B, 1, T)."""
        sounds, commitment = [], 0.0
        for encode, quantize, decode in zip(
            self.encoders, self.quantizers, self.decoders, strict=True
        ):
            vectors, _, loss = quantize(encode(sound))
            sounds.append(decode(vectors))
            commitment = commitment + loss.sum()
        return torch.cat(sounds), commitment


@functools.cache
def window_of(size: int):
    """Returns a periodic Hann window (size,)."""
    return torch.hann_window(size)


def spectrum(sound, resolution):
    """Returns magnitudes (B, F, N) of sound (B, 1, T)."""
    size, hop, window = resolution
    bins = torch.stft(sound[:, 0], size, hop, window, window_of(window), return_complex=True)
    return bins.abs()


def norms(spectra):
    """Returns the Frobenius norms (B,) of spectra (B, F, N)."""
    return spectra.square().sum(dim=(1, 2)).clamp(min=1e-20).sqrt()


def loss_of(sound, sounds, variance, spectrum_norm):
    """Returns the sum over levels of the reconstruction losses.

    Args:
        sound: Targets, float (B, 1, T).
        sounds: Reconstructions, float (levels * B, 1, T).
        variance: Variance of the data's samples, a scalar.
        spectrum_norm: Mean norm of the data's spectra, a scalar.
    """
    levels = len(sounds) // len(sound)
    squares = (sounds - sound.repeat(levels, 1, 1)).square()
    largest = squares[:, 0].topk(LARGEST, sorted=False).values
    loss = (squares.mean() + LINF * largest.mean()) / variance
    for resolution in RESOLUTIONS:
        wanted = spectrum(sound, resolution).repeat(levels, 1, 1)
        apart = norms(spectrum(sounds, resolution) - wanted)
        loss = loss + apart.mean() / (spectrum_norm * len(RESOLUTIONS))
    return levels * loss


def noise(*shape: int):
    """Returns noise."""
    return 0.1 * torch.randn(*shape)


def train(batch: int, steps: int) -> float:
    """Returns the training speed in seconds of sound per second."""
    model, clips = TorchVQVAE(), noise(CLIPS, 1, CROP)
    variance, spectrum_norm = clips.var(), norms(spectrum(clips, MEASURED)).mean()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for i in range(steps + 2):
        if i == 2:
            began = time.perf_counter()
        sound = clips[torch.randint(CLIPS, (batch,))]
        sounds, commitment = model(sound)
        loss = loss_of(sound, sounds, variance, spectrum_norm) + commitment
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    return batch * CROP / RATE * steps / (time.perf_counter() - began)


@torch.inference_mode()
def code(batch: int, steps: int) -> float:
    """Returns the speed of encoding to level 0 and decoding, in seconds of sound per second."""
    model, sound = TorchVQVAE().eval(), noise(batch, 1, SECONDS * RATE)
    for i in range(steps + 1):
        if i == 1:
            began = time.perf_counter()
        vectors, _, _ = model.quantizers[0](model.encoders[0](sound))
        model.decoders[0](vectors)
    return batch * SECONDS * steps / (time.perf_counter() - began)


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    what, *numbers = sys.argv[1:]
    print({"train": train, "code": code}[what](*map(int, numbers)))
