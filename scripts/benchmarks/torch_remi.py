"""A GPT-2 (Hugging Face) on REMI tokens (MidiTok), as a baseline for MuseNet.

Run by musenet_baseline.py: python torch_remi.py FOLDER WEIGHTS STEPS

FOLDER has train/ and test/. Prints as JSON: the number of weights, the bits and the tokens of all
test pieces, tokens per second in training and in generation, and the share of valid generated
tokens. Needs `pip install torch transformers miditok`; imports nothing from magenta_lite.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from miditok import REMI, TokenizerConfig, TokSequence
from transformers import GPT2Config, GPT2LMHeadModel

CONTEXT, LAYERS, HEADS, BATCH = 512, 4, 4, 16
LEARNING_RATE, LAST_RATE, WARMUP = 3e-3, 1e-4, 50
TRANSPOSE = 6
WRITTEN = 10


def tokenizer() -> REMI:
    """Returns MidiTok's REMI tokenizer for several instruments in one stream."""
    return REMI(
        TokenizerConfig(
            use_programs=True,
            one_token_stream_for_programs=True,
            use_tempos=True,
            use_time_signatures=True,
            use_rests=False,
        )
    )


def tokens_of(remi: REMI, folder: Path) -> list[np.ndarray]:
    """Returns the ids of each piece, from `BOS` to `EOS`."""
    pieces = []
    for path in sorted(folder.glob("*.mid")):
        ids = remi(path).ids
        pieces.append(np.array([remi["BOS_None"], *ids, remi["EOS_None"]]))
    return pieces


def sized(vocabulary: int, weights: int) -> GPT2LMHeadModel:
    """Returns a GPT-2 with at most `weights` weights."""

    def count(width):
        return LAYERS * (12 * width**2 + 13 * width) + 2 * width + (vocabulary + CONTEXT) * width

    width = max((w for w in range(HEADS, 4096, HEADS) if count(w) <= weights), default=HEADS)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=CONTEXT,
            n_embd=width,
            n_layer=LAYERS,
            n_head=HEADS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )


def rate(step: int, steps: int) -> float:
    """Returns the learning rate: linear warm-up, then cosine decay."""
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / WARMUP
    done = (step - WARMUP) / max(steps - WARMUP, 1)
    return LAST_RATE + (LEARNING_RATE - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2


def train(model, remi: REMI, pieces: list[np.ndarray], steps: int) -> float:
    """Trains the model, and returns the speed in tokens per second."""
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95))
    rng = np.random.default_rng(0)
    pitches = [id for name, id in remi.vocab.items() if name.startswith("Pitch_")]
    low, high = min(pitches), max(pitches)
    stream = np.concatenate(pieces)
    began = time.perf_counter()
    for step in range(steps):
        starts = rng.integers(0, len(stream) - CONTEXT, BATCH)
        rows = np.stack([stream[start : start + CONTEXT] for start in starts])
        shift = rng.integers(-TRANSPOSE, TRANSPOSE + 1, (BATCH, 1))
        moved = np.clip(rows + shift, low, high)
        rows = torch.tensor(np.where((rows >= low) & (rows <= high), moved, rows))
        for group in adam.param_groups:
            group["lr"] = rate(step, steps)
        adam.zero_grad()
        loss = model(rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        if step % 50 == 0:
            print(f"step {step}: {loss.item():.3f}", file=sys.stderr, flush=True)
    return BATCH * CONTEXT * steps / (time.perf_counter() - began)


@torch.no_grad()
def bits(model, pieces: list[np.ndarray]) -> float:
    """Returns the bits of all pieces, split into contexts that overlap by one token."""
    total = 0.0
    for piece in pieces:
        for start in range(0, len(piece) - 1, CONTEXT - 1):
            row = torch.tensor(piece[None, start : start + CONTEXT])
            logits = model(row).logits[0, :-1]
            total += torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum").item()
    return total / math.log(2)


def write(model, remi: REMI) -> tuple[float, float]:
    """Generates pieces one at a time; returns tokens per second and the share of valid tokens."""
    first = torch.tensor([[remi["BOS_None"]]])
    count, errors, began = 0, 0.0, time.perf_counter()
    for seed in range(WRITTEN):
        torch.manual_seed(seed)
        ids = model.generate(
            first,
            attention_mask=torch.ones_like(first),
            do_sample=True,
            top_k=0,
            min_new_tokens=CONTEXT - 1,
            max_new_tokens=CONTEXT - 1,
        )[0, 1:].tolist()
        count += len(ids)
        errors += len(ids) * remi.tokens_errors(TokSequence(ids=ids))
    return count / (time.perf_counter() - began), 1 - errors / count


def main() -> None:
    folder, weights, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(0)
    remi = tokenizer()
    pieces, held_out = (tokens_of(remi, folder / split) for split in ("train", "test"))
    model = sized(len(remi.vocab), weights)
    training = train(model, remi, pieces, steps)
    model.eval()
    writing, valid = write(model, remi)
    numbers = {
        "weights": sum(p.numel() for p in model.parameters()),
        "bits": bits(model, held_out),
        "tokens": sum(len(piece) - 1 for piece in held_out),
        "train": training,
        "generate": writing,
        "valid": valid,
    }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
