"""Evaluate a trained model on held-out data.

python -m magenta_lite.evaluate --run_dir=runs/cat-mel_2bar [--split=test] [--data=FOLDER]
python -m magenta_lite.evaluate --preset=NAME [--limit=100] [--output=numbers.json]

Prints a table of metrics and writes it to RUN_DIR/evaluation-SPLIT.json, or to --output. For
MusicVAE and MelodyRNN it compares samples, drawn with the default options of `generate`, with the
held-out music.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.presets import is_preset

FLAGS = flags.FLAGS
SPLITS = ("test", "validation", "train")  # the default is the first one with examples

cli.define_run_flags()
flags.DEFINE_string(
    "split",
    None,
    "test, validation or train. Default: test, or validation if there are no test examples.",
)
flags.DEFINE_integer(
    "limit", None, "Largest number of examples, evenly spaced. Default: all.", lower_bound=1
)
cli.define_path(
    "output",
    None,
    "JSON file of the numbers. Default: evaluation-SPLIT.json in the run directory; none for a "
    "preset.",
)
flags.DEFINE_integer("seed", 0, "Seed of the posterior noise and of sampling.")
cli.define_data_flags()


def main() -> None:
    path = cli.run_path()  # raises before TensorFlow is loaded
    if FLAGS.split and FLAGS.split not in SPLITS:
        raise unknown_name("--split", FLAGS.split, SPLITS)
    _check_output()
    cli.load_tensorflow()
    from magenta_lite.data.splitting import few_held_out
    from magenta_lite.datasets import open_data
    from magenta_lite.evaluation import held_out
    from magenta_lite.training.run import load_encoder
    from magenta_lite.training.run_directory import RunDirectory, replace_text

    run = cli.load_run()
    config = cli.with_data(run.config)
    data = config.data
    built = "" if FLAGS.data else RunDirectory(path).built
    collection = open_data(config, load_encoder(config), FLAGS.data_dir, built)
    splits = [FLAGS.split] if FLAGS.split else SPLITS
    split = next((name for name in splits if len(collection.split(name).events)), "")
    if not split:
        raise UserError(f"{data.source} has no {splits[0]} examples; try another --split")
    examples = collection.split(split)
    if FLAGS.limit:
        examples = examples.some(FLAGS.limit)
    few = few_held_out(split, examples.pieces) if split != "train" else ""
    if few:
        print(few)

    run = dataclasses.replace(run, config=config)
    numbers = held_out.numbers(run, examples, collection, FLAGS.seed)
    meanings = held_out.meanings(run)
    print(f"{run.config.name} at step {run.step}, {data.source} {split}:")
    for name, value in numbers.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"  {name:<26}{shown:>12}  {meanings[name]}")
    if is_preset(path) and not FLAGS.output:
        return
    output = Path(FLAGS.output or path / f"evaluation-{split}.json")
    replace_text(output, json.dumps({"step": run.step, "data": data.source, **numbers}, indent=2))
    print(f"Wrote {output}")


def _check_output() -> None:
    """Raises: UserError if --output cannot be a file, before the evaluation, which may be long."""
    if not FLAGS.output:
        return
    path = Path(FLAGS.output)
    if path.is_dir():
        raise UserError(f"--output={path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise UserError(f"--output={path}: there is no folder {path.parent}; create it")


if __name__ == "__main__":
    cli.run(main)
