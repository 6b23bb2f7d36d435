"""Exports a SavedModel, and checks its outputs against those of the model."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from magenta_lite.config import save_config
from magenta_lite.graphs import without_xla
from magenta_lite.serving.versions import new_version

if TYPE_CHECKING:
    from magenta_lite.training.run import Run


def export_saved_model(
    run: Run, folder: Path, version: int | None = None, xla: bool = False
) -> tuple[Path, dict[str, list[str]]]:
    """Writes the inference functions of a run's model as a version of a SavedModel.

    The SavedModel loads with TensorFlow alone. `assets.extra/` contains the run's `config.yaml` and
    `converter.json`, which define the meaning of the events.

    Args:
        run: A run from `load_run`.
        folder: Folder of the model's versions, the base path of TensorFlow Serving. It is created,
            and may hold nothing but versions. The new one is the folder of its number, and is there
            as a whole or not at all.
        version: Number of the version; None for the next one.
        xla: Keep XLA compilation of loops. They are faster with XLA, but TensorFlow Serving refuses
            them unless it is started with `--xla_cpu_compilation_enabled`.

    Returns:
        The folder of the version, and the names of each signature's inputs.

    Raises:
        UserError: If the version exists, `folder` has something else, or another process is
            writing it.
        RuntimeError: If the outputs of the SavedModel differ from those of the run's model.
    """
    functions = run.model.signatures()

    module = tf.Module()
    module.model_weights = [weight.value for weight in run.model.weights]
    for name, function in functions.items():
        setattr(module, name, function)
    with new_version(folder, version, "--output") as (partial, place):
        with contextlib.nullcontext() if xla else without_xla():
            tf.saved_model.save(module, str(partial), signatures=functions)
            _check(partial, functions, run.model.signature_arguments(2, 1.0, 7))
        extra = partial / "assets.extra"
        extra.mkdir()
        save_config(run.config, extra / "config.yaml")
        (extra / "converter.json").write_text(json.dumps(run.converter.to_json()), "utf-8")
    return place, {
        name: [spec.name for spec in function.input_signature]
        for name, function in functions.items()
    }


def _check(folder: Path, functions, arguments) -> None:
    """Loads the SavedModel and compares its default signature with that of the model."""
    loaded = tf.saved_model.load(str(folder))
    ours = functions["serving_default"](**arguments)
    theirs = loaded.signatures["serving_default"](**arguments)
    for name, value in ours.items():
        if not np.array_equal(value, theirs[name]):
            raise RuntimeError(f"The written model's {name} differ from the trained model's")
