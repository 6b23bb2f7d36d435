"""Makes tests/golden/jukebox/{attention,prior,data} from recorded files: what the tests read.

python tests/golden/shrink_jukebox_priors.py FOLDER

All weights in them are random. They are kept in one array, in the order of their sorted names; of
gradients two numbers each, see `digest`. Names and shapes are kept by kind of layer, see `folded`.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "jukebox"
STACKS = ("res_scale", "cross")
LAYER = re.compile(r"(?<=_attn_mods\.)\d+|(?<=\.blocks\.)\d+")
CASES = (
    "timing",
    "range_edges",
    "get_starts",
    "sample_level",
    "lyric_windows",
    "lyric_windows_precision",
    "text",
    "name_normalisation_v2",
    "label_vectors",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    attention(folder / "attention")
    for path in sorted((folder / "prior").iterdir()):
        prior(path)
    pipeline(folder / "pipeline")
    shapes(folder / "shapes")
    cases = json.loads((folder / "data" / "cases.json").read_text())
    write_json(HERE / "data" / "cases.json", {name: cases[name] for name in CASES})
    write_arrays(HERE / "data" / "timing.npz", np.load(folder / "data" / "timing.npz"))


def attention(folder: Path) -> None:
    for path in sorted(folder.glob("[0-9]*.npz")):
        arrays = np.load(path)
        kept = {n: x for n, x in arrays.items() if n.split("/")[0] in ("w", "x", "y", "g")}
        for name in ("encoder_kv", "grad_x", "grad_encoder_kv", "support"):
            kept |= {name: arrays[name]} if name in arrays else {}
        if path.stem[0] in "67":  # those whose weights align lyrics
            kept["weights"] = arrays["recorded_attn_w"]
        kept |= {n: x for n, x in arrays.items() if n.startswith("grad_w/")}
        write_arrays(HERE / "attention" / path.name, kept)
    arrays = np.load(folder / "transformer.npz")
    stacks = {name: x for name, x in arrays.items() if name.split("/")[0] in STACKS}
    write_arrays(HERE / "attention" / "transformer.npz", stacks)
    write_arrays(HERE / "attention" / "functions.npz", np.load(folder / "functions.npz"))
    manifest = json.loads((folder / "manifest.json").read_text())
    write_json(HERE / "attention" / "orders.json", manifest["orders"])


def prior(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    names = ("bins", "hparams", "labels_hparams", "cond_downsample", "raw_to_tokens", "n_params")
    kept = {name: manifest[name] for name in (*names, "loss")}
    sampling = manifest["sampling"]
    kept["primed_tokens"] = sampling["primed_tokens"]
    kept["short_sample_tokens"] = sampling["short_sample_tokens"]
    weights = dict(sorted(np.load(folder / "weights.npz").items()))
    kept["shapes"] = folded({name: x.shape for name, x in weights.items()})
    write_json(HERE / "prior" / f"{folder.name}.json", kept)
    golden = np.load(folder / "golden.npz")
    left_out = ("acts", "prime_acts", "joint_x_cond", "joint_tokens", "time_bins")
    left_out += ("preds_of_greedy", "preds_of_greedy_joint_tokens", "x_cond", "y_cond")
    arrays = {n: x for n, x in golden.items() if n.split("/")[0] not in (*left_out, "grad")}
    gradients = sorted(name for name in golden if name.startswith("grad/"))
    arrays["gradients"] = np.stack([digest(golden[name]) for name in gradients])
    arrays["weights"] = flat(weights)
    write_arrays(HERE / "prior" / f"{folder.name}.npz", arrays)


def digest(gradient: np.ndarray) -> np.ndarray:
    """Returns its norm, and its product with the cosines of 0, 1, 2 and so on."""
    flat = gradient.astype(np.float64).reshape(-1)
    return np.array([np.linalg.norm(flat), flat @ np.cos(np.arange(flat.size))])


def pipeline(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = {"windows": {name: manifest[name]["windows"] for name in ("ancestral", "primed")}}
    kept |= {name: manifest["hparams"][name] for name in ("labels", "level_0", "level_1")}
    golden = np.load(folder / "golden.npz")
    arrays = {name: x for name, x in golden.items() if x.dtype == np.int32}
    for level in (0, 1):
        weights = dict(sorted(np.load(folder / f"level_{level}_weights.npz").items()))
        arrays[f"weights_{level}"] = flat(weights)
        kept[f"shapes_{level}"] = folded({name: x.shape for name, x in weights.items()})
    write_json(HERE / "prior" / "pipeline.json", kept)
    write_arrays(HERE / "prior" / "pipeline.npz", arrays)


def flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([x.reshape(-1) for x in arrays.values()])


def shapes(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = {}
    for name, facts in manifest.items():
        if "vqvae" in name:
            continue
        tree = json.loads((folder / f"{name}.json").read_text())
        wanted = ("parameters", "sample_length", "tensors")
        kept[name] = {n: facts[n] for n in wanted} | {"shapes": folded(tree)}
    write_json(HERE / "prior" / "shapes.json", kept)


def folded(tree: dict[str, list[int]]) -> dict[str, list]:
    """Returns pairs of a shape and the layers that have it, by name with * for their number."""
    groups: dict[str, list] = {}
    for name, shape in tree.items():
        number = LAYER.search(name)
        pairs = groups.setdefault(LAYER.sub("*", name), [])
        of_shape = next((numbers for other, numbers in pairs if other == shape), None)
        if of_shape is None:
            pairs.append((shape, of_shape := []))
        of_shape.append(int(number.group()) if number else 0)
    return groups


def write_arrays(path: Path, arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def write_json(path: Path, tree) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
