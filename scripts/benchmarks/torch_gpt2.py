"""Hugging Face's GPT-2 at the size of a Music Transformer, for speed comparisons.

Run by speed_music_transformer.py: python torch_gpt2.py {train|generate} BATCH TOKENS STEPS

Needs `pip install torch transformers`; nothing of magenta_lite is imported.
"""

from __future__ import annotations

import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

LAYERS, WIDTH, HEADS, VOCABULARY = 4, 256, 8, 310


def model_of(tokens: int) -> GPT2LMHeadModel:
    """Returns the untrained model."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=tokens,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    return GPT2LMHeadModel(config)


def train(batch: int, tokens: int, steps: int) -> float:
    """Returns the training speed in tokens per second."""
    model = model_of(tokens)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    ids = torch.randint(0, VOCABULARY, (batch, tokens))
    for i in range(steps + 2):
        if i == 2:
            began = time.perf_counter()
        adam.zero_grad()
        model(ids, labels=ids).loss.backward()
        adam.step()
    return batch * tokens * steps / (time.perf_counter() - began)


def generate(batch: int, tokens: int, steps: int) -> float:
    """Returns the speed of cached sampling in tokens per second."""
    model = model_of(tokens).eval()
    first = torch.zeros(batch, 1, dtype=torch.long)

    def sample():
        model.generate(
            first,
            attention_mask=torch.ones_like(first),
            do_sample=True,
            top_k=0,
            min_new_tokens=tokens - 1,
            max_new_tokens=tokens - 1,
            use_cache=True,
        )

    sample()
    began = time.perf_counter()
    for _ in range(steps):
        sample()
    return batch * (tokens - 1) * steps / (time.perf_counter() - began)


if __name__ == "__main__":
    kind, *sizes = sys.argv[1:]
    print({"train": train, "generate": generate}[kind](*map(int, sizes)))
