"""The network of attention_rnn in eager PyTorch, for speed comparisons.

Run by speed_melody_rnn.py: python torch_melody_rnn.py {train|generate} BATCH EVENTS STEPS

Needs `pip install torch`; imports nothing from magenta_lite. Input features are random: the
computation of lookback and key features, which magenta_lite's measurements include, is omitted.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import nn
from torch.nn import functional

INPUT, CLASSES, UNITS, ATTENTION = 74, 40, 128, 40


class TorchAttentionRNN(nn.Module):
    """An LSTM that attends to its last 40 outputs, followed by another LSTM."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(INPUT + UNITS, UNITS)
        self.first = nn.LSTMCell(UNITS, UNITS)
        self.query = nn.Linear(2 * UNITS, UNITS)
        self.memory = nn.Linear(UNITS, UNITS, bias=False)
        self.score = nn.Linear(UNITS, 1, bias=False)
        self.output = nn.Linear(2 * UNITS, UNITS)
        self.second = nn.LSTMCell(UNITS, UNITS)
        self.head = nn.Linear(UNITS, CLASSES)

    def start(self, rows: int):
        """Returns zero LSTM states, attention context, past outputs and their projections."""
        zeros = torch.zeros(rows, UNITS)
        ring = torch.zeros(rows, ATTENTION, UNITS)
        return (zeros, zeros), (zeros, zeros), zeros, ring, ring

    def step(self, x, state):
        """Returns logits (B, V) for inputs x (B, D), and the new state."""
        first, second, attended, outputs, scored = state
        first = self.first(self.read(torch.cat([x, attended], dim=1)), first)
        query = self.query(torch.cat([first[1], first[0]], dim=1))
        weights = self.score(torch.tanh(scored + query[:, None])).softmax(dim=1)
        attended = (weights * outputs).sum(dim=1)
        output = self.output(torch.cat([first[0], attended], dim=1))
        outputs = torch.cat([outputs[:, 1:], output[:, None]], dim=1)
        scored = torch.cat([scored[:, 1:], self.memory(output)[:, None]], dim=1)
        second = self.second(functional.dropout(output, 0.5, self.training), second)
        hidden = functional.dropout(second[0], 0.5, self.training)
        return self.head(hidden), (first, second, attended, outputs, scored)


def train(batch: int, events: int, steps: int) -> float:
    """Returns the training speed in events per second."""
    model = TorchAttentionRNN()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, label = torch.randn(events, batch, INPUT), torch.randint(CLASSES, (events, batch))
    for i in range(steps + 2):
        if i == 2:
            began = time.perf_counter()
        state, logits = model.start(batch), []
        for t in range(events):
            predicted, state = model.step(x[t], state)
            logits.append(predicted)
        loss = functional.cross_entropy(torch.stack(logits).flatten(0, 1), label.flatten())
        adam.zero_grad()
        loss.backward()
        for weight in model.parameters():
            nn.utils.clip_grad_norm_(weight, 3.0)
        adam.step()
        loss.item()
    return batch * events * steps / (time.perf_counter() - began)


@torch.no_grad()
def generate(batch: int, events: int, steps: int) -> float:
    """Returns the speed of sampling in events per second."""
    model = TorchAttentionRNN().eval()
    table = torch.randn(CLASSES, INPUT)
    for i in range(steps + 1):
        if i == 1:
            began = time.perf_counter()
        state, ids = model.start(batch), torch.zeros(batch, dtype=torch.long)
        for _ in range(events):
            logits, state = model.step(table[ids], state)
            ids = torch.multinomial(logits.softmax(dim=1), 1)[:, 0]
    return batch * events * steps / (time.perf_counter() - began)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    torch.manual_seed(0)
    print({"train": train, "generate": generate}[what](*map(int, numbers)))
