"""Records of a run: `metrics.jsonl`, and TensorBoard scalars and images."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from magenta_lite.config import ExperimentConfig
from magenta_lite.data.collections import Examples
from magenta_lite.files import flush_names
from magenta_lite.modeling.music_model import MusicModel
from magenta_lite.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from magenta_lite.converters.converter import Converter

SAMPLES = 4  # in the image of each validation


@dataclasses.dataclass
class Record:
    """Writes the metrics and images of each interval.

    Images are piano rolls of samples; those of models of sound are reconstructions of `held_out`,
    the validation split.
    """

    directory: RunDirectory
    config: ExperimentConfig
    converter: Converter
    held_out: Examples
    _sample: Any = None

    @functools.cached_property
    def _writer(self):
        return tf.summary.create_file_writer(str(self.directory.events))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the metrics of a step."""
        line = {"step": step, "time": round(time.time(), 3), **values}
        with self.directory.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        flush_names(self.directory.path)
        with self._writer.as_default(step=step):
            for name, value in values.items():
                folder = "validation" if name.startswith("val_") else "train"
                tf.summary.scalar(f"{folder}/{name.removeprefix('val_')}", value)
        self._writer.flush()

    def draw(self, model: MusicModel, step: int) -> None:
        """Writes images of the model's output."""
        with self._writer.as_default(step=step):
            for i, picture in enumerate(self.pictures(model, step)):
                tf.summary.image(f"samples/{i}", picture[None])
        self._writer.flush()

    def pictures(self, model: MusicModel, step: int) -> Any:
        """Yields images of the model's output, uint8 (H, W, 4); none without validation."""
        from magenta_lite.plots import png_bytes

        if not self.config.train.validation_examples:
            return
        figures = model.pictures(self.converter, self.held_out, self.config.train.seed)
        if figures is None:
            figures = self._piano_rolls(model, step)
        for figure in figures:
            yield tf.image.decode_png(png_bytes(figure), channels=4)

    def _piano_rolls(self, model: MusicModel, step: int):
        from magenta_lite.plots import piano_rolls

        if self._sample is None:
            self._sample = model.signatures()["sample"]
        temperature, seed = self.config.generate.temperature, self.config.train.seed
        drawn = self._sample(**model.signature_arguments(SAMPLES, temperature, seed))
        sequences = [self.converter.decode(events) for events in drawn["events"].numpy()]
        return [piano_rolls(sequences, [f"step {step:,}, sample {i}" for i in range(SAMPLES)])]
