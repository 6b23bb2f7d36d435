"""Makes the files beside this one from what was recorded of Jukebox' VQ-VAE: what the tests read.

python tests/golden/jukebox/vqvae/shrink_jukebox_vqvae.py FOLDER

Weights stand one after the other in one array, in the order of `variables`. Of activations every
`SPARSE`th number is kept, of gradients and weights after steps every `SOME`th.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
# States after steps that are kept.
MOMENTS = {
    "two_level": ("after5", "ema"),
    "three_level": ("after2",),
    "stereo_variant": ("after2",),
}
KEPT = ("hparams", "variables", "eval", "train", "optimizer", "hop_lengths")
ACTIVATIONS = ("enc_block", "enc", "recon", "rand_recon", "dec_block")
SPARSE, SOME = 29, 11


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cases = {}
    for name in MOMENTS:
        manifest = json.loads((folder / name / "manifest.json").read_text())
        cases[name] = {key: manifest[key] for key in KEPT}
        weights = np.load(folder / name / "weights.npz")
        golden = np.load(folder / name / "golden.npz")
        # The order of the original's files.
        cases[name]["variables"] = {key: list(weights[key].shape) for key in weights.files}
        np.savez_compressed(HERE / f"{name}.npz", **case(name, golden, weights))
    write("cases", cases)
    write("bottleneck", json.loads((folder / "bottleneck.json").read_text())["cases"])
    recorded = np.load(folder / "bottleneck.npz")
    np.savez_compressed(HERE / "bottleneck.npz", **{key: small(recorded[key]) for key in recorded})
    write("losses", json.loads((folder / "losses.json").read_text()))
    losses = dict(np.load(folder / "losses.npz"))
    for key in losses:
        if key.startswith("stft_magnitude"):
            losses[key] = losses[key].ravel()[::SPARSE]
    np.savez_compressed(HERE / "losses.npz", **losses)


def case(name, golden, weights) -> dict[str, np.ndarray]:
    trained = [key for key in weights.files if f"grad/{key}" in golden]
    kept = {"x": golden["x"], "weights": flat(weights, weights.files)}
    kept["grad"] = flat(golden, [f"grad/{key}" for key in trained])[::SOME]
    for moment in MOMENTS[name]:
        kept[f"steps/{moment}"] = flat(golden, [f"steps/{moment}/{key}" for key in trained])[::SOME]
    codes = golden["train/k_elem_before/l0"].size
    for key in golden.files:
        first, *rest = key.split("/")
        if first in ACTIVATIONS:
            kept[key] = golden[key].ravel()[::SPARSE]
        elif "perm" in rest:
            kept[key] = golden[key][:codes]  # the others are not chosen
        elif first in ("codes", "rand_codes", "train") and rest != ["x_out"]:
            kept[key] = small(golden[key])
        elif key.startswith((f"steps/{MOMENTS[name][0]}/k", "steps/l", "steps/grad_norms")):
            kept[key] = golden[key]
    return kept


def flat(arrays, names) -> np.ndarray:
    return np.concatenate([arrays[name].ravel() for name in names])


def small(array: np.ndarray) -> np.ndarray:
    return array.astype(np.uint8) if array.dtype.kind == "i" else array


def write(name: str, tree: dict) -> None:
    (HERE / f"{name}.json").write_text(json.dumps(tree, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
