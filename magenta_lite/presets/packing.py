"""Writes a trained model as a preset, and reads its weights."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magenta_lite import __version__
from magenta_lite.config import ExperimentConfig, save_config
from magenta_lite.errors import UserError, first_line
from magenta_lite.files import replaced
from magenta_lite.presets import (
    AGAIN,
    CARD,
    CHECKED,
    CONFIG,
    CONVERTER,
    EXAMPLES,
    MANIFEST,
    WEIGHTS,
    Preset,
    as_json,
    digest,
)

if TYPE_CHECKING:
    import keras


def arrays_of(model: keras.Model, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Returns the weights of a model by their paths, without the name of the model.

    Trained weights have the given type. The others, such as codebooks, keep their own: their
    effect on the loss is not measured.
    """
    trained = {id(weight) for weight in model.trainable_variables}
    arrays = {}
    for weight in model.weights:
        array = np.asarray(weight)
        wanted = dtype if id(weight) in trained else array.dtype
        arrays[_name(weight, model)] = np.asarray(array, wanted, order="C")
    return arrays


def assign(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Assigns the arrays of `arrays_of` to the weights of a model of the same sizes.

    Raises:
        ValueError: If they are not those of such a model; the message is the reason.
    """
    weights = {_name(weight, model): weight for weight in model.weights}
    if weights.keys() != arrays.keys():
        names = sorted(weights.keys() ^ arrays.keys())
        raise ValueError(f"{names[0]} is only in the model or only in the file")
    for name, weight in weights.items():
        if tuple(weight.shape) != arrays[name].shape:
            shapes = f"{list(arrays[name].shape)}, and {list(weight.shape)} in the model"
            raise ValueError(f"{name} has the shape {shapes}")
        weight.assign(arrays[name].astype(weight.dtype))


def load_weights(model: keras.Model, folder: Path) -> None:
    """Loads the weights of a preset into a model of its config.

    Raises:
        UserError: If they do not fit the model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        assign(model, load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, ValueError) as error:
        problem = f"does not fit {CONFIG}: {first_line(error)}"
        raise UserError(f"{folder / WEIGHTS} {problem}; {AGAIN}") from error


def pack(
    folder: Path,
    config: ExperimentConfig,
    converter: Any,
    model: keras.Model,
    card: str,
    dtype: str,
    example: tuple[str, bytes] | None = None,
    **facts: Any,
) -> Preset:
    """Writes the folder of a preset, which replaces a former one, and returns its manifest.

    Args:
        folder: The folder; its name is that of the preset.
        config: Config of the training run, whose `data.source` others can open, too.
        converter: Its converter.
        model: The model with its weights.
        card: Text of `CARD.md`.
        dtype: Type of the trained weights in the file, `float16` or `float32`.
        example: Name, one of `EXAMPLES`, and content of the example; None for none.
        **facts: `about`, `step`, `data`, `licence` and `flags` of `Preset`.
    """
    from safetensors.numpy import save

    # A run that starts with these weights has a time budget of its own.
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, minutes=0.0))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replaced(folder) as partial:
        partial.mkdir()
        save_config(config, partial / CONFIG)
        (partial / CONVERTER).write_text(json.dumps(converter.to_json(), indent=2) + "\n")
        (partial / WEIGHTS).write_bytes(save(arrays_of(model, dtype)))
        (partial / CARD).write_text(card, encoding="utf-8")
        if example:
            name, content = example
            (partial / name).write_bytes(content)
        preset = Preset(
            model=config.name,
            weights=sum(math.prod(weight.shape) for weight in model.trainable_variables),
            dtype=dtype,
            version=__version__,
            sha256={path.name: digest(path) for path in sorted(partial.iterdir())},
            **facts,
        )
        (partial / MANIFEST).write_text(json.dumps(as_json(preset), indent=2) + "\n", "utf-8")
        remove(folder)
    return preset


def remove(folder: Path) -> None:
    """Removes the files of a preset, if there is one; any other file in the folder stays."""
    for name in (*CHECKED, *EXAMPLES, MANIFEST):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir():
        folder.rmdir()


def _name(weight: Any, model: keras.Model) -> str:
    return weight.path.removeprefix(f"{model.name}/")
