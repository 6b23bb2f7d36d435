"""Copies recorded MelodyRNN numbers here, without what can be computed from the melodies.

python tests/golden/shrink_melody_rnn.py FOLDER_OF_RECORDINGS
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "melody_rnn"
LEFT_OUT = ("inputs", "labels", "softmax")
TINY_ONLY = ("final_state", "resume/", "train/after")


def main() -> None:
    source = Path(sys.argv[1])
    HERE.mkdir(exist_ok=True)
    for name in ("melodies.json", "encodings.npz"):
        shutil.copy(source / name, HERE)
    manifest = json.loads((source / "manifest.json").read_text())
    (HERE / "manifest.json").write_text(json.dumps(manifest))
    for path in source.glob("attn_*.npz"):
        shutil.copy(path, HERE)
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        target = HERE / folder.name
        target.mkdir(exist_ok=True)
        left_out = LEFT_OUT + (TINY_ONLY if folder.name.startswith("real") else ())
        arrays = np.load(folder / "golden.npz")
        kept = {name: arrays[name] for name in arrays if not name.startswith(left_out)}
        np.savez_compressed(target / "golden.npz", **kept)
        shutil.copy(folder / "greedy_continuations.json", target)
        for path in folder.glob("init.*"):
            shutil.copy(path, target)
    for path in (source / "tiny-attention_rnn").glob("trained.*"):
        shutil.copy(path, HERE / "tiny-attention_rnn")


if __name__ == "__main__":
    main()
