"""Copies recorded MusicVAE numbers here, with the logits of large ones thinned out.

python tests/golden/shrink_music_vae.py FOLDER_OF_RECORDINGS
"""

import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "music_vae"
LARGE = 400_000  # bytes
EVERY = 8  # steps of logits that stay in large ones


def main() -> None:
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        target = HERE / folder.name
        if not (folder / "golden.npz").is_file() or target.exists():
            continue
        target.mkdir(parents=True)
        shutil.copy(folder / "manifest.json", target)
        arrays = dict(np.load(folder / "golden.npz"))
        if (folder / "golden.npz").stat().st_size > LARGE:
            arrays["logits"] = arrays["logits"][:, ::EVERY]
        arrays.pop("inputs", None) if not folder.name.count("groovae") else None
        np.savez_compressed(target / "golden.npz", **arrays)


if __name__ == "__main__":
    main()
