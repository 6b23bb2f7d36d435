"""Exports a SavedModel, and checks its outputs against those of the model."""

from __future__ import annotations

import contextlib
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.config import save_config
from magenta_lite.graphs import graph_function, without_xla
from magenta_lite.serving.assets import write_assets
from magenta_lite.serving.notes import NoteReader, note_reader
from magenta_lite.serving.versions import new_version

if TYPE_CHECKING:
    from magenta_lite.modeling.music_model import MusicModel
    from magenta_lite.training.run import Run

QPM = 120.0  # of examples


def export_saved_model(
    run: Run, folder: Path, version: int | None = None, xla: bool = False
) -> tuple[Path, dict[str, list[str]]]:
    """Writes the inference functions of a run's model as a version of a SavedModel.

    The SavedModel loads with TensorFlow alone. `assets.extra/` contains the run's `config.yaml` and
    `converter.json`, which define the meaning of the events, and what `write_assets` writes.

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
        UserError: If the version exists, `folder` has something else, another process is writing
            it, or the programs of the config are not valid for its converter.
        RuntimeError: If the weights of the SavedModel differ from those of the run's model.
    """
    functions = signatures(run.model, run.converter, run.config.generate.programs)

    module = tf.Module()
    module.model_weights = [weight.value for weight in run.model.weights]
    for name, function in functions.items():
        setattr(module, name, function)
    with new_version(folder, version, "--output") as (partial, place):
        with contextlib.nullcontext() if xla else without_xla():
            tf.saved_model.save(module, str(partial), signatures=functions)
        arguments = default_arguments(run.model, run.converter, 2, 1.0, 7)
        results = _checked_results(partial, run.model, arguments)
        extra = partial / "assets.extra"
        extra.mkdir()
        rows = run.model.row_signature() is not None
        write_assets(extra, run.config.name, run.converter, arguments, results, rows)
        save_config(run.config, extra / "config.yaml")
        (extra / "converter.json").write_text(json.dumps(run.converter.to_json()), "utf-8")
    return place, {
        name: [spec.name for spec in function.input_signature]
        for name, function in functions.items()
    }


def signatures(model: MusicModel, converter: Any, programs: tuple[int, ...] = ()) -> dict[str, Any]:
    """Returns the functions that are exported, by the names of their signatures.

    They are those of the model; `serving_default` is its `row_signature`, if it has one, and
    returns notes, see `NoteReader.notes`, if the events are notes. Where times depend on the tempo,
    it also takes `qpm` float32 (N,), quarter notes a minute. `programs` are those of `note_reader`.
    """
    rows = model.row_signature()
    if rows is None:
        return model.signatures()
    reader = note_reader(converter, programs)
    served = rows if reader is None else _noted(rows, reader)
    return model.signatures() | {"serving_default": served}


def _noted(rows: Any, reader: NoteReader) -> Any:
    """Returns the function of rows, with notes beside the events."""
    qpm = [tf.TensorSpec([None], tf.float32, "qpm")] if reader.steps_per_quarter else []

    specs = [*rows.input_signature, *qpm]

    def serving_default(*values):
        count = len(rows.input_signature)
        found = rows(*values[:count])
        return found | reader.notes(found["events"], *values[count:])

    # The names by which the function is called.
    names = [inspect.Parameter(x.name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for x in specs]
    vars(serving_default)["__signature__"] = inspect.Signature(names)
    return graph_function(serving_default, input_signature=specs)


def default_arguments(
    model: MusicModel, converter: Any, rows: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of `serving_default`, for N = `rows` rows where it takes rows."""
    if model.row_signature() is None:
        return model.signature_arguments(rows, temperature, seed)
    reader = note_reader(converter)
    tempo = {"qpm": tf.fill([rows], QPM)} if reader and reader.steps_per_quarter else {}
    return model.row_arguments(rows, temperature, seed) | tempo


def _checked_results(
    folder: Path, model: MusicModel, arguments: dict[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Loads a SavedModel, compares its weights with the model's, and calls its default signature.

    Returns:
        What the signature returns.
    """
    loaded = tf.saved_model.load(str(folder))
    for ours, theirs in zip(model.weights, loaded.model_weights, strict=True):
        if not np.array_equal(ours, theirs):
            raise RuntimeError(f"The written {ours.path} differs from that of the trained model")
    return loaded.signatures["serving_default"](**arguments)
