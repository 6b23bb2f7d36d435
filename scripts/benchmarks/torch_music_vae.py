"""The network of cat-mel_2bar_small in eager PyTorch, for speed comparisons.

Run by speed.py: python torch_music_vae.py EVENTS.npy {train|sample} BATCH {float32|bfloat16} STEPS

Needs `pip install torch`; imports nothing from magenta_lite. Training uses teacher forcing, without
the scheduled sampling that magenta_lite's steps include.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DEPTH, STEPS, LATENT, ENCODER, DECODER = 90, 32, 256, 512, 256


class TorchMusicVAE(nn.Module):
    """Bidirectional LSTM encoder, Gaussian latent vector, two-layer LSTM decoder."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(DEPTH, ENCODER, bidirectional=True, batch_first=True)
        self.mu = nn.Linear(2 * ENCODER, LATENT)
        self.sigma = nn.Linear(2 * ENCODER, LATENT)
        self.initial_state = nn.Linear(LATENT, 4 * DECODER)
        self.decoder = nn.LSTM(DEPTH + LATENT, DECODER, num_layers=2, batch_first=True)
        self.output_projection = nn.Linear(DECODER, DEPTH)

    def states(self, z):
        """Returns initial states h and c, float (2, B, U), from latent vectors z (B, Z)."""
        c0, h0, c1, h1 = torch.tanh(self.initial_state(z)).split(DECODER, dim=-1)
        return torch.stack([h0, h1]), torch.stack([c0, c1])

    def forward(self, events):
        """Returns the loss of int64 events (B, T)."""
        x = functional.one_hot(events, DEPTH).float()
        _, (h, _) = self.encoder(x)
        code = torch.cat([h[0], h[1]], dim=-1)
        mu, sigma = self.mu(code), functional.softplus(self.sigma(code))
        z = mu + sigma * torch.randn_like(mu)
        previous = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
        fed = torch.cat([previous, z[:, None].expand(-1, STEPS, -1)], dim=-1)
        y, _ = self.decoder(fed, self.states(z))
        logits = self.output_projection(y).float().reshape(-1, DEPTH)
        nll = functional.cross_entropy(logits, events.reshape(-1), reduction="sum") / len(events)
        kl = 0.5 * (sigma**2 + mu**2 - 1 - 2 * torch.log(sigma)).sum(dim=-1).mean()
        return nll + 0.2 * kl

    @torch.no_grad()
    def sample(self, n, temperature=0.5):
        """Returns int64 events (N, T)."""
        z = torch.randn(n, LATENT)
        state = self.states(z)
        x = torch.zeros(n, DEPTH)
        events = []
        for _ in range(STEPS):
            y, state = self.decoder(torch.cat([x, z], dim=-1)[:, None], state)
            probabilities = torch.softmax(self.output_projection(y[:, 0]).float() / temperature, -1)
            event = torch.multinomial(probabilities, 1)[:, 0]
            events.append(event)
            x = functional.one_hot(event, DEPTH).float()
        return torch.stack(events, dim=1)


def train_seconds(model, events, batch, low_precision, steps) -> float:
    """Returns the seconds of `steps` training steps after two warm-up steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
    for step in range(steps + 2):
        if step == 2:
            began = time.perf_counter()
        rows = torch.arange(step * batch, (step + 1) * batch) % len(events)
        with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
            loss = model(events[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - began


def sample_seconds(model, batch, low_precision, steps) -> float:
    """Returns the seconds of `steps` calls of `sample` after a warm-up call."""
    with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
        model.sample(batch)
        began = time.perf_counter()
        for _ in range(steps):
            model.sample(batch)
    return time.perf_counter() - began


def main() -> None:
    path, what, batch, precision, steps = sys.argv[1:]
    batch, steps, low_precision = int(batch), int(steps), precision == "bfloat16"
    torch.manual_seed(0)
    model = TorchMusicVAE()
    if what == "train":
        events = torch.from_numpy(np.load(path).astype(np.int64))
        seconds = train_seconds(model, events, batch, low_precision, steps)
    else:
        seconds = sample_seconds(model.eval(), batch, low_precision, steps)
    print(batch * steps / seconds)


if __name__ == "__main__":
    main()
