"""The card of a preset: data, training, numbers, memorization, and what it is bad at."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import json
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from preset_recipes import Recipe

from magenta_lite.converters.audio import Audio
from magenta_lite.data import memorization
from magenta_lite.evaluation import held_out
from magenta_lite.modeling.examples import Examples, spread
from magenta_lite.shell import command
from magenta_lite.training.history import History, lines_of
from magenta_lite.training.run import Run, load_encoder
from magenta_lite.training.run_directory import RunDirectory

COMPARED = 100  # samples and held-out pieces that are compared with the training data
AT_ONCE = 20  # samples drawn in one call
MOST_ROWS = 50_000  # of training data
CURVE = 12  # points


@dataclasses.dataclass(frozen=True)
class Card:
    """What the card of a preset is made of.

    Attributes:
        name: Name of the preset.
        recipe: Its recipe.
        run: The model with the weights that are stored.
        run_dir: Its run directory.
        origin: Where the weights are from, in words.
        dtype: Their type.
    """

    name: str
    recipe: Recipe
    run: Run
    run_dir: Path
    origin: str
    dtype: str

    def text(self, collection: Any) -> str:
        """Returns the card; `collection` is the data."""
        split = next(name for name in ("test", "validation") if len(collection.split(name)))
        examples = collection.split(split)
        sizes = ", ".join(f"{size:,} {name}" for name, size in collection.sizes.items())
        start, data = self._starts()[-1], self.recipe.data
        parts = [
            f"# {self.name}",
            f"A model that {self.recipe.about}: `{self.run.config.name}`, "
            f"{self.run.model.count_params():,} weights, stored in {self.dtype}.",
            "```bash\n" + command("generate", f"--preset={self.name}", *self._flags()) + "\n```",
            "## Data",
            f"{_sentence(data.music)} Terms: {data.licence}. Examples: {sizes}.",
            "## Training",
            f"```bash\n{self._command()}\n```",
            f"Seed {self.run.config.train.seed}, commit {start['git_revision'] or 'unknown'}, "
            f"{start['time'][:10]}, TensorFlow {start['versions']['tensorflow']}, "
            f"{self.run.config.train.precision}, {start['cores']} cores of {_processor()}, "
            f"{self._minutes():,.0f} minutes including validations, with whatever else the "
            "machine was doing.",
            f"The weights are {self.origin}.",
            self._curve(),
            f"## Numbers on the {split} split",
            self._numbers(examples, collection),
            "## Memorization",
            self._memorization(examples, collection.split("train")),
            "## What it is bad at",
            self.recipe.weaknesses,
        ]
        return "\n\n".join(parts) + "\n"

    def _flags(self) -> list[str]:
        own = "sound.wav" if self.run.config.converter.kind == "audio" else "pattern.mid"
        return [flag.replace("{example}", own) for flag in self.recipe.flags]

    def _starts(self) -> list[dict[str, Any]]:
        return json.loads(RunDirectory(self.run_dir).environment.read_text())["starts"]

    def _command(self) -> str:
        steps = self.run.config.train.steps
        more = [] if steps == self.recipe.steps else [f"--steps={steps}"]
        return " ".join(["python scripts/train_presets.py", self.name, *more])

    def _minutes(self) -> float:
        """Returns the time between each start and its last metrics, of all starts."""
        moments = [
            (datetime.datetime.fromisoformat(start["time"]).timestamp(), False)
            for start in self._starts()
        ]
        metrics = RunDirectory(self.run_dir).metrics
        moments += [(values["time"], True) for _, values in lines_of(metrics)]
        moments.sort()
        pairs = itertools.pairwise(moments)
        return sum(end - begin for (begin, _), (end, saved) in pairs if saved) / 60

    def _curve(self) -> str:
        history = History.read(self.run.config, RunDirectory(self.run_dir).metrics)
        points = [history.validations[i] for i in spread(len(history.validations), CURVE)]
        if points and points[-1] != history.validations[-1]:
            points.append(history.validations[-1])
        rows = [[f"{point.step:,}", f"{point.loss:.4f}"] for point in points]
        return "Validation in training:\n\n" + _table(["step", "loss"], rows)

    def _numbers(self, examples: Examples, collection: Any) -> str:
        numbers = held_out.numbers(self.run, examples, collection)
        meanings = held_out.meanings(self.run)
        rows = [[f"`{name}`", _shown(numbers[name]), meanings[name]] for name in numbers]
        return _table(["metric", "value", "meaning"], rows)

    def _memorization(self, examples: Examples, train: Examples) -> str:
        converter, kind = self.run.converter, self.run.config.converter.kind
        if kind == "audio":
            return "It writes nothing of its own: it encodes and decodes the sound of its input."
        if kind == "codes":
            unit, contour, sampled = "frames", _first_codes, self._coder()
            what = "frames of a piece whose first codes stand in the training data, in one context"
        else:
            unit, contour, sampled = "notes", converter.contour, converter.contour
            what = (
                "notes of a piece that stands in the training data in any key (pitches and which "
                "notes begin together; not their durations)"
            )
        known = [contour(_row(train, row)) for row in spread(len(train), MOST_ROWS)]
        music = [contour(_row(examples, i)) for i in spread(len(examples), COMPARED)]
        table = [
            [name, *_longest(pieces, known)]
            for name, pieces in (
                ("samples", map(sampled, self._samples())),
                ("held-out pieces", music),
            )
        ]
        head = ["", "pieces", f"{unit}, median", "longest run, median", "90 % are below", "maximum"]
        return f"The longest run of {what}:\n\n{_table(head, table)}"

    def _coder(self) -> Callable[[Audio], np.ndarray]:
        """Returns a function from sound to the first code of each of its frames."""
        from magenta_lite.families.vqvae.coding import Coder

        vqvae = load_encoder(self.run.config)
        assert vqvae is not None
        coder, level = Coder(vqvae.model), self.run.converter.config.level
        return lambda sound: _first_codes(coder.encode(sound.samples)[level])

    def _samples(self) -> list[Any]:
        """Returns samples from scratch, with the options of the recipe."""
        drawn = []
        for seed in range(COMPARED // AT_ONCE):
            drawn += self.run.generate(
                **self.recipe.options | {"num_outputs": AT_ONCE, "seed": seed}
            )
        return drawn


def _longest(contours: Iterable[np.ndarray], known: list[np.ndarray]) -> list[str]:
    """Returns number and median length of pieces, and quantiles of their longest known runs."""
    pieces = [contour for contour in contours if len(contour)]
    runs = [passage.length for passage in memorization.longest_shared(pieces, known)]
    numbers = [np.median([len(piece) for piece in pieces]), *np.quantile(runs, [0.5, 0.9, 1])]
    return [str(len(pieces)), *(f"{number:,.0f}" for number in numbers)]


def _first_codes(codes: np.ndarray) -> np.ndarray:
    """Returns the first of the codes of each frame (T, N), or the only ones (T,)."""
    return codes if codes.ndim == 1 else codes[:, 0]


def _row(examples: Examples, row: int) -> np.ndarray:
    return examples.events[row][: examples.lengths[row]]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _processor() -> str:
    """Returns the name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
