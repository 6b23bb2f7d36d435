"""Trains small models with the settings of the originals on made-up events, for the tests.

python original_run.py OUTPUT.json.gz

As a program it writes their losses and the values of all configurations; `test_original.py`
compares what this program wrote before the package had settings of its own.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import sys
import tempfile
from pathlib import Path

from family_run import ROWS, MadeUpCollection

COMMON = (
    f"train.batch_size={ROWS}",
    "train.steps=20",
    "train.checkpoint_every=5",
    "train.validation_examples=0",
    "train.warmup_steps=1",
)
UNITS = ("model.latent_size=8", "model.encoder_units=[12]", "model.decoder_units=[12,12]")
# The random numbers of dropout are no longer those of the time of recording.
NO_DROPOUT = "model.dropout=0"
RUNS = {
    "cat-mel_2bar": UNITS,
    "cat-mel_2bar_tiny": UNITS,
    "cat-mel_2bar_med_chords_tiny": ("converter.chords=false", *UNITS),
    "groovae_2bar_humanize": (NO_DROPOUT, *UNITS),
    "hier-multiperf_vel_1bar_med_tiny": UNITS,
    "attention_rnn": (NO_DROPOUT, "converter.max_steps=64", "model.units=[12,12]"),
    "performance_tiny": ("converter.max_events=64", "model.units=[12,12]"),
    "music_transformer": (
        NO_DROPOUT,
        "converter.crop=32",
        "model.layers=1",
        "model.hidden_size=16",
        "model.key_size=16",
        "model.filter_size=16",
        "model.heads=2",
        "data.transpose=[0,0]",
    ),
    "music_transformer_jsb": ("converter.crop=32", "model.layers=1", "data.transpose=[0,0]"),
}


def losses(name: str, **kwargs) -> list[float]:
    """Returns the mean losses of steps 1 to 5, 6 to 10, …; `kwargs` are those of `get_config`."""
    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.training.trainer import train

    config = get_config(name, (*COMMON, *RUNS[name]), **kwargs)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        train(config, run_dir, MadeUpCollection(build_converter(config.converter)))
        lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def sections(name: str, **kwargs) -> dict:
    """Returns the values of a config by section; `kwargs` are those of `get_config`."""
    from magenta_lite.config import SECTIONS, get_config

    config = get_config(name, **kwargs)
    return {section: dataclasses.asdict(getattr(config, section)) for section in SECTIONS}


def main() -> None:
    from magenta_lite.config import config_names

    written = {
        "losses": {name: losses(name) for name in RUNS},
        "sections": {name: sections(name) for name in config_names()},
    }
    Path(sys.argv[1]).write_bytes(gzip.compress(json.dumps(written).encode(), mtime=0))


if __name__ == "__main__":
    main()
