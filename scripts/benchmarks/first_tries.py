"""Compares samples of the small configurations with held-out music, in a Markdown table.

python scripts/benchmarks/first_tries.py [--configs=cat-mel_2bar_tiny,...] [--folder=runs/first]

Trains each configuration with its defaults (or uses the run in the folder), samples with the
defaults of `generate`, and measures the NLL of the samples and of held-out music under an n-gram
model of the training data in all transpositions used in training. See `ngram.py`; order and
smoothing are chosen on the validation split, and the test split is compared. As n-grams favour
silence and held notes, notes per bar are reported, too: samples pass if their NLL is at most 1.5
times that of held-out music and they have at least half as many notes.

An event is an id per step or token; for trios an id per part, whose NLLs are summed; for drums and
grooves the set of drums that are hit, without velocities and timing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import ngram
import numpy as np

from magenta_lite.config import config_names, get_config
from magenta_lite.data.collections import Examples
from magenta_lite.datasets import open_collection

FAMILIES = ("music_vae", "melody_rnn")
LONGEST_ORDER = 8
EVENTS = 8192  # approximate number of sampled events per configuration
LEAST_OUTPUTS = 16
CONDITIONS = 16  # held-out windows whose chords or hits samples are conditioned on
STEPS = 2**24  # of training data for the n-gram, including padding, to limit memory
COUNTED = 256  # windows whose notes are counted
SEED = 0
QPM = 120.0
SECONDS_PER_BAR = 4 * 60 / QPM
MOST_RATIO = 1.5
LEAST_NOTES = 0.5  # relative to held-out music


class Measured(NamedTuple):
    """NLL in nats per event, and notes per bar."""

    nll: float
    held_out_nll: float
    notes: float
    held_out_notes: float

    @property
    def ratio(self) -> float:
        """NLL of the samples relative to that of held-out music."""
        return self.nll / self.held_out_nll

    @property
    def is_music(self) -> bool:
        """Whether the samples are sufficiently likely and have enough notes."""
        return self.ratio <= MOST_RATIO and self.notes >= LEAST_NOTES * self.held_out_notes


def tiny_configs() -> dict[str, list[str]]:
    """Returns the names of the small configurations, each with its aliases."""
    names: dict[Any, list[str]] = {}
    for name in sorted(config_names(), key=lambda name: (len(name), name)):
        config = get_config(name)
        if name.endswith("_tiny") and config.family in FAMILIES:
            names.setdefault(dataclasses.replace(config, name=""), []).append(name)
    return {first: others for first, *others in names.values()}


# Events for n-grams ---------------------------------------------------------------------------


def streams(examples: Examples, form) -> list[Examples]:
    """Splits examples into sequences of ids (N, T), one `Examples` per part.

    Args:
        examples: Examples from a converter.
        form: Their `EventFormat`.
    """
    events, lengths = np.asarray(examples.events), examples.lengths
    if form.kind == "multi_categorical":
        return [Examples(events[..., part], lengths, None) for part in range(len(form.sizes))]
    if form.kind in ("roll", "groove"):
        hits = events[..., : form.sizes[0]] > 0.5
        members = np.uint64(1) << np.arange(form.sizes[0], dtype=np.uint64)
        return [Examples(np.where(hits, members, np.uint64(0)).sum(axis=-1), lengths, None)]
    if form.segments > 1:  # each track is a sequence up to its first end token
        tracks = events.reshape(len(events) * form.segments, -1)
        ends = tracks == form.end_id
        steps = np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, tracks.shape[1])
        return [Examples(tracks, steps, None)]
    return [Examples(events, lengths, None)]


def likelihoods(splits: dict[str, Examples], form, skipped: int) -> dict[str, float]:
    """Returns the NLL in nats per event of the other splits under an n-gram model of `train`.

    Args:
        splits: `train`; `validation`, on which order and smoothing are chosen; and others.
        form: The `EventFormat`.
        skipped: Number of leading events of each example that are not predicted.
    """
    others = [name for name in splits if name != "train"]
    total = dict.fromkeys(others, 0.0)
    for parts in zip(*(streams(examples, form) for examples in splits.values()), strict=True):
        part = dict(zip(splits, parts, strict=True))
        # All ids that do not occur in the training data count as one.
        vocabulary = len(np.unique(part["train"].events)) + 1
        nll = ngram.nll_of_orders(
            part["train"], [part[name] for name in others], skipped, vocabulary, LONGEST_ORDER
        )
        best = nll[..., others.index("validation")]
        strength, order = np.unravel_index(best.argmin(), best.shape)
        for name, value in zip(others, nll[strength, order], strict=True):
            total[name] += float(value)
    return total


def in_all_keys(examples: Examples, converter, transpose: tuple[int, int]) -> Examples:
    """Returns examples in all transpositions used in training, at most `STEPS` steps."""
    from magenta_lite.data.pipeline import batches_for

    keys = transpose[1] - transpose[0] + 1
    rows = spread(len(examples), STEPS // (keys * examples.events.shape[1]))
    examples = dataclasses.replace(
        examples, events=examples.events[rows], lengths=examples.lengths[rows], controls=None
    )
    moved = []
    for semitones in range(transpose[0], transpose[1] + 1):
        batches = batches_for(
            converter,
            examples,
            batch_size=len(examples),
            seed=0,
            shuffle=False,
            transpose=(semitones, semitones),
        )
        moved.append(next(iter(batches.dataset()))["events"].numpy())
    return Examples(np.concatenate(moved), np.tile(examples.lengths, len(moved)), None)


# Music ------------------------------------------------------------------------------------------


def draw_samples(run, held_out: Examples) -> Examples:
    """Returns samples of a run's model with default options.

    Args:
        run: A run from `load_run`.
        held_out: Its chords or hits are the conditioning of MusicVAEs that need some.
    """
    draw = {"music_vae": _draw_windows, "melody_rnn": _draw_continuations}[run.config.family]
    events = draw(run, held_out)
    ended = events == -1 if run.config.family == "melody_rnn" else np.zeros(events.shape[:2], bool)
    lengths = np.where(ended.any(axis=1), ended.argmax(axis=1), events.shape[1])
    return Examples(events, lengths.astype(np.int32), None)


def _draw_windows(run, held_out: Examples) -> np.ndarray:
    import tensorflow as tf

    model = run.model
    sample = model.signatures()["sample"]
    count = max(EVENTS // model.length, LEAST_OUTPUTS)
    control = run.model.events_format.control
    if not control:
        temperature = run.config.generate.temperature
        arguments = model.signature_arguments(count, temperature, SEED)
        return sample(**arguments)["events"].numpy()
    drawn = []
    for number, row in enumerate(spread(len(held_out), CONDITIONS)):
        controls = held_out.controls[row] if control == "chords" else held_out.events[row]
        arguments = model.signature_arguments(
            max(count // CONDITIONS, 1), run.config.generate.temperature, SEED + number
        )
        spec = arguments["controls"]
        arguments["controls"] = tf.cast(controls[..., : spec.shape[-1]], spec.dtype)
        if control == "chords":
            arguments["controls"] = tf.cast(controls, spec.dtype)
        drawn.append(sample(**arguments)["events"].numpy())
    return np.concatenate(drawn)


def _draw_continuations(run, held_out: Examples) -> np.ndarray:
    import tensorflow as tf

    from magenta_lite.families.melody_rnn.backing_chords import BackingChords
    from magenta_lite.families.melody_rnn.generation import steps_to_add
    from magenta_lite.families.melody_rnn.options import MelodyRNNOptions
    from magenta_lite.families.melody_rnn.primers import PRIMERS

    del held_out
    model, temperature = run.model, run.config.generate.temperature
    options = MelodyRNNOptions(num_outputs=LEAST_OUTPUTS, temperature=temperature, qpm=QPM)
    primer = PRIMERS[run.converter.config.kind](run.converter, options)
    count = max(EVENTS // model.length, LEAST_OUTPUTS)
    arguments = model.signature_arguments(count, temperature, SEED)
    arguments["primer"] = tf.constant(primer.ids, tf.int32)
    new_steps = steps_to_add(options, primer.steps, primer.usual_steps)
    if model.encoding.chords:
        backing = BackingChords(run.converter, options, primer)
        chords = backing.ids(primer.steps + new_steps, primer.shift)
        arguments["chords"] = tf.constant(chords, tf.int32)
    arguments["num_steps"] = tf.constant(new_steps)
    return model.signatures()["sample"](**arguments)["events"].numpy()


def notes_per_bar(examples: Examples, converter) -> float:
    """Returns the mean number of notes per bar (4/4 at 120 quarter notes per minute)."""
    notes = seconds = 0.0
    for row in spread(len(examples), COUNTED):
        events = examples.events[row][: examples.lengths[row]]
        sequence = converter.decode(events, qpm=QPM)
        notes += len(sequence.notes)
        seconds += _seconds(events, sequence, converter)
    return notes / max(seconds, 1e-9) * SECONDS_PER_BAR


def _seconds(events, sequence, converter) -> float:
    """Returns the duration of events in seconds."""
    config = converter.config
    if config.kind == "multi_performance":  # windows of one bar
        return SECONDS_PER_BAR
    if hasattr(config, "steps_per_quarter"):
        return len(events) / config.steps_per_quarter * 60 / QPM
    return sequence.total_time


def spread(total: int, wanted: int) -> np.ndarray:
    """Returns at most `wanted` evenly spaced indices below `total`."""
    count = min(total, wanted)
    return np.arange(count) * total // max(count, 1)


# The table ----------------------------------------------------------------------------------------


def measure(run, collection) -> Measured:
    """Measures a run's samples and the test split of its data."""
    form = run.converter.event_format
    held_out = collection.split("test")
    samples = draw_samples(run, held_out)
    splits = {
        "train": in_all_keys(collection.split("train"), run.converter, run.config.data.transpose),
        "validation": collection.split("validation"),
        "test": held_out,
        "samples": samples,
    }
    # The first event of a MelodyRNN is a primer.
    nll = likelihoods(splits, form, skipped=int(run.config.family == "melody_rnn"))
    return Measured(
        nll["samples"],
        nll["test"],
        notes_per_bar(samples, run.converter),
        notes_per_bar(held_out, run.converter),
    )


def trained(name: str, folder: Path) -> tuple[Any, float]:
    """Returns the run of a configuration, trained if necessary, and its CPU time in seconds."""
    from magenta_lite.training.run import load_run

    path, clock = folder / name, folder / f"{name}.seconds.json"
    if not clock.exists():
        began = _cpu_seconds_of_children()
        command = [sys.executable, "-m", "magenta_lite.train", f"--config={name}"]
        with (folder / f"{name}.log").open("w") as log:
            subprocess.run([*command, f"--run_dir={path}"], check=True, stdout=log, stderr=log)
        clock.write_text(json.dumps(_cpu_seconds_of_children() - began))
    return load_run(path), json.loads(clock.read_text())


def _cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def line(name: str, others: list[str], steps: int, seconds: float, result: Measured) -> str:
    """Returns a row of the table."""
    also = f" (= {', '.join(f'`{other}`' for other in others)})" if others else ""
    verdict = "" if result.is_music else " **too much**"
    return (
        f"| `{name}`{also} | {steps:,} | {seconds:.0f} | {result.nll:.2f} | "
        f"{result.held_out_nll:.2f} | {result.ratio:.2f}{verdict} | {result.notes:.1f} | "
        f"{result.held_out_notes:.1f} |"
    )


HEADER = (
    "| configuration | steps | CPU seconds | NLL of samples | of held-out music | ratio | "
    "notes a bar | in held-out music |\n" + "|---" * 8 + "|"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", help="names, joined by commas; default: all small ones")
    parser.add_argument("--folder", type=Path, default=Path("runs/first_tries"))
    parser.add_argument("--data_dir", help="as of magenta_lite.train")
    arguments = parser.parse_args()
    known = tiny_configs()
    names = arguments.configs.split(",") if arguments.configs else list(known)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(HEADER, flush=True)
    fine = True
    for name in names:
        run, seconds = trained(name, arguments.folder)
        collection = open_collection(run.config.data, run.config.converter, arguments.data_dir)
        result = measure(run, collection)
        fine &= result.is_music
        print(line(name, known.get(name, []), run.step, seconds, result), flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
