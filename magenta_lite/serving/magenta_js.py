"""Exports models to magenta-js, the inverse of `checkpoints.magenta_js`.

Facts of the format: weights of a group stand one after the other in C order, little endian, cut
into shards of 4 MB; a quantized weight is number * scale + min.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magenta_lite.checkpoints import melody_rnn, music_vae
from magenta_lite.checkpoints.magenta_js import CONFIG, MANIFEST
from magenta_lite.locks import new_folder
from magenta_lite.serving.magenta_js_page import read_library, write_page
from magenta_lite.serving.magenta_js_spec import spec_of

if TYPE_CHECKING:
    from magenta_lite.training.run import Run

QUANTIZATIONS = {"none": None, "uint16": np.dtype("<u2"), "uint8": np.dtype("u1")}
SHARD = 2**22  # bytes, the size that browsers can cache


def export_magenta_js(
    run: Run, folder: Path, quantize: str = "none", library: Path | None = None
) -> int:
    """Writes the model of a run as a folder that `@magenta/music` loads, with a page of samples.

    Args:
        run: A run from `load_run`.
        folder: Must be empty or not exist; it is written whole or not at all.
        quantize: Type of the stored weights, a key of `QUANTIZATIONS`.
        library: `magentamusic.js`, which becomes a part of the page; None if it will lie beside it.

    Returns:
        The size of the weights in bytes.

    Raises:
        UserError: If the library cannot run the model (gives the nearest settings) or is not the
            file `library`, `folder` exists and is not empty, or another process is writing it.
    """
    spec, text = spec_of(run), read_library(library)
    named_weights = {"music_vae": music_vae, "melody_rnn": melody_rnn}[run.config.family]
    weights = named_weights.named_weights(run.model)
    with new_folder(folder, "--output") as partial:
        partial.mkdir()
        (partial / CONFIG).write_text(json.dumps(spec, indent=2) + "\n", "utf-8")
        size = write_weights(partial, weights, quantize)
        write_page(partial, run, text)
    return size


def write_weights(folder: Path, weights: Mapping[str, np.ndarray], quantize: str) -> int:
    """Writes the manifest and the shards of float32 weights by name; returns the size of shards."""
    entries, parts = [], []
    for name, value in weights.items():
        entry: dict[str, Any] = {"name": name, "shape": list(value.shape), "dtype": "float32"}
        dtype = QUANTIZATIONS[quantize]
        if dtype is None:
            stored = value.astype("<f4")
        else:
            stored, scale, low = quantized(value, dtype)
            entry["quantization"] = {"dtype": dtype.name, "scale": scale, "min": low}
        entries.append(entry)
        parts.append(stored.tobytes())
    data = b"".join(parts)
    shards = -(-len(data) // SHARD)
    paths = [f"group1-shard{i + 1}of{shards}" for i in range(shards)]
    for i, path in enumerate(paths):
        (folder / path).write_bytes(data[i * SHARD : (i + 1) * SHARD])
    manifest = [{"paths": paths, "weights": entries}]
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return len(data)


def quantized(value: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, float, float]:
    """Returns numbers, scale and minimum, so that numbers * scale + minimum is nearly `value`.

    Errors are at most half a scale. A 0 within the range is kept exactly.
    """
    low, high = float(value.min()), float(value.max())
    if low == high:
        return np.zeros(value.shape, dtype), 1.0, low
    levels = np.iinfo(dtype).max
    scale = (high - low) / levels
    if low < 0 < high:
        low = -round(-low / scale) * scale
    numbers = np.rint((value.astype(np.float64) - low) / scale)
    return np.clip(numbers, 0, levels).astype(dtype), scale, low
