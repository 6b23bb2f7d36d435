"""Makes tests/golden/musenet from the recorded files of MuseNet's tokens: what the tests read.

python tests/golden/shrink_musenet.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

HERE = Path(__file__).parent / "musenet"
NOTES = ("notes", "public_order", "instrument_set")
DECODED = ("total_s", "unmatched_offs", "never_ended", "pairing", "repaired")
PLACES = ("moment", "chord", "part", "countdown")
VOCABULARY = ("program_to_instrument", "velocity_to_piano_block", "published_example", "tokens")
CONDITIONING = ("mask_bits", "family_of_instrument", "instrument_sets", "demo_styles")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, keys in (
        ("vocabulary", VOCABULARY),
        ("conditioning", (*CONDITIONING, "genre_styles", "unnamed_style_ids")),
    ):
        tree = json.loads((folder / f"{name}.json").read_text())
        write(HERE / f"{name}.json", only(tree, keys))
    for path in sorted((folder / "encode").glob("*.json")):
        tree = json.loads(path.read_text())
        write(HERE / "encode" / path.name, only(tree["expected"], NOTES))
        shutil.copy(path.with_suffix(".mid"), HERE / "encode")
    for path in sorted((folder / "decode").glob("*.json")):
        tree = json.loads(path.read_text())
        kept = {"tokens": tree["tokens"], **only(tree["expected"], DECODED)}
        write(HERE / "decode" / path.name, kept)
    for path in sorted((folder / "embeddings").glob("*.json")):
        tree = json.loads(path.read_text())
        kept = only(tree, ("prefix_length", "piece_offset", "piece_length", "tokens"))
        write(HERE / "embeddings" / path.name, {**kept, **only(tree["ids"], PLACES)})


def only(tree: dict, keys) -> dict:
    return {key: tree[key] for key in keys}


def write(path: Path, tree: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
