"""Comparison of a model's samples with held-out music."""

from __future__ import annotations

from typing import Any

import numpy as np

from magenta_lite.config import ExperimentConfig
from magenta_lite.converters.converter import Converter
from magenta_lite.converters.melody import FIRST_PITCH_ID, NO_EVENT_ID
from magenta_lite.evaluation.ngrams import in_all_keys, likelihoods, limited
from magenta_lite.modeling.examples import Examples, spread
from magenta_lite.typing import Events, NoteSequence

NGRAM_STEPS = 2**21  # of training data for the n-gram, including padding, to limit time and memory
COUNTED = 256  # windows whose notes are counted
QPM = 120.0
SECONDS_PER_BAR = 4 * 60 / QPM
OCTAVE = 12  # semitones; larger intervals of a melody are leaps
TOKEN_KINDS = ("chorale", "performance")  # converters of one sequence of tokens

_NLL = "under the best n-gram of the training data, nats an event"
MEANINGS = {
    "ngram_nll_of_samples": f"NLL of samples {_NLL}",
    "ngram_nll_of_music": f"NLL of the held-out music {_NLL}",
    "notes_per_bar_of_samples": "notes in a bar of samples, 4/4 at 120 quarter notes a minute",
    "notes_per_bar_of_music": "the same in the held-out music",
    "leaps_of_samples": "share of intervals of more than an octave in samples",
    "leaps_of_music": "the same in the held-out music",
    "melody_time_of_samples": "share of the time in which the melody sounds in samples",
    "melody_time_of_music": "the same in the held-out music",
}


def compared(
    samples: Examples,
    held_out: Examples,
    collection: Any,
    config: ExperimentConfig,
    converter: Converter,
    steps: int = NGRAM_STEPS,
) -> dict[str, float]:
    """Returns the numbers that `MEANINGS` explains; leaps and times for melodies only.

    As n-grams favour silence and held notes, notes per bar belong to the NLL.

    Args:
        samples: Samples of the model.
        held_out: A split of its data.
        collection: The data, with `split(name) -> Examples`.
        config: Config of the model.
        converter: Its converter.
        steps: Limit of the steps of training data; a quarter of it is that of other splits.
    """
    splits = _splits(held_out, collection, config, converter, steps) | {"samples": samples}
    # The first event of a MelodyRNN is a primer.
    skipped = int(config.family == "melody_rnn")
    nll = likelihoods(splits, converter.event_format, skipped)
    found = {"samples": _counted(samples, converter), "music": _counted(held_out, converter)}
    numbers = {f"ngram_nll_of_{name}": nll[name] for name in found}
    numbers |= {f"notes_per_bar_of_{name}": counts[0] for name, counts in found.items()}
    if config.converter.kind in ("melody", "event_melody"):
        numbers |= {f"leaps_of_{name}": counts[1] for name, counts in found.items()}
    if config.converter.kind in ("melody", "event_melody", "trio"):
        numbers |= {f"melody_time_of_{name}": counts[2] for name, counts in found.items()}
    return numbers


def baseline(
    held_out: Examples,
    collection: Any,
    config: ExperimentConfig,
    converter: Converter,
    steps: int = NGRAM_STEPS,
) -> dict[str, float]:
    """Returns the NLL of the held-out music under an n-gram, for models of one token at a time.

    The arguments are those of `compared`.
    """
    splits = _splits(held_out, collection, config, converter, steps)
    nll = likelihoods(splits, converter.event_format, skipped=0)
    return {"ngram_nll_of_music": nll["music"]}


def _splits(held_out, collection, config, converter, steps: int) -> dict[str, Examples]:
    """Returns the `train` split in all keys, `validation` and the held-out `music`, limited."""
    train, validation = collection.split("train"), collection.split("validation")

    def music(examples: Examples) -> Examples:
        examples = limited(examples, steps // 4)
        crop = converter.crop or examples.events.shape[1]
        return Examples(examples.events[:, :crop], np.minimum(examples.lengths, crop), None)

    return {
        "train": in_all_keys(train, converter, config.data.transpose, steps),
        "validation": music(validation if len(validation.events) else held_out),
        "music": music(held_out),
    }


def _counted(examples: Examples, converter: Converter) -> tuple[float, float, float]:
    """Returns notes per bar, the share of leaps among intervals, and that of sounding steps."""
    notes = leaps = intervals = sounding = steps = 0
    seconds = 0.0
    for row in spread(len(examples), COUNTED):
        events = examples.events[row][: examples.lengths[row]]
        sequence = converter.decode(events, qpm=QPM)
        notes += len(sequence.notes)
        seconds += _seconds(events, sequence, converter)
        pitches = [note.pitch for note in sorted(sequence.notes, key=lambda note: note.start_time)]
        sizes = np.abs(np.diff(pitches))
        leaps, intervals = leaps + int((sizes > OCTAVE).sum()), intervals + len(sizes)
        melody = np.asarray(events if events.ndim == 1 else events[:, 0])
        sounding, steps = sounding + sounding_steps(melody), steps + len(melody)
    per_bar = notes / max(seconds, 1e-9) * SECONDS_PER_BAR
    return per_bar, leaps / max(intervals, 1), sounding / max(steps, 1)


def sounding_steps(melody: np.ndarray) -> int:
    """Returns the number of steps at which a note of a melody (T,) sounds."""
    steps = np.arange(len(melody))
    latest = np.maximum.accumulate(np.where(melody != NO_EVENT_ID, steps, 0))
    return int((melody[latest] >= FIRST_PITCH_ID).sum())


def _seconds(events: Events, sequence: NoteSequence, converter: Converter) -> float:
    """Returns the duration of events in seconds."""
    config: Any = converter.config
    if config.kind == "multi_performance":  # windows of one bar
        return SECONDS_PER_BAR
    if hasattr(config, "steps_per_quarter"):
        return len(events) / config.steps_per_quarter * 60 / QPM
    return sequence.total_time
