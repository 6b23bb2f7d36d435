"""Measure a trained model on held-out data.

python -m magenta_lite.evaluate --run_dir=runs/cat-mel_2bar [--split=test] [--data=FOLDER]

Prints a table and writes it to RUN_DIR/evaluation-SPLIT.json.
"""

from __future__ import annotations

import importlib
import json

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError, unknown_name

FLAGS = flags.FLAGS
SPLITS = ("test", "validation", "train")

flags.DEFINE_string("run_dir", None, "The directory that `train` filled.")
cli.define_checkpoint_flag()
flags.DEFINE_string("split", "test", "test, validation or train.")
flags.DEFINE_integer("seed", 0, "Of the posterior noise and of the samples that are fed back.")
cli.define_data_flags()


def main() -> None:
    if not FLAGS.run_dir:
        raise UserError("--run_dir is missing: the directory that `train` filled")
    if FLAGS.split not in SPLITS:
        raise unknown_name("--split", FLAGS.split, SPLITS)
    cli.load_tensorflow()
    from magenta_lite.data.collections import open_data

    run = cli.load_run()
    config = cli.with_data(run.config)
    data = config.data
    examples = open_data(config, FLAGS.data_dir).split(FLAGS.split)
    if not len(examples.events):
        raise UserError(f"{data.source} has no {FLAGS.split} examples; try another --split")

    family = importlib.import_module(f"magenta_lite.models.{run.config.family}.evaluation")
    numbers = family.evaluate(run.model, examples, FLAGS.seed)
    print(f"{run.config.name} at step {run.step}, {data.source} {FLAGS.split}:")
    for name, value in numbers.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"  {name:<26}{shown:>12}  {family.MEANINGS[name]}")
    path = run.directory / f"evaluation-{FLAGS.split}.json"
    path.write_text(json.dumps({"step": run.step, "data": data.source, **numbers}, indent=2))
    print(f"Wrote {path}")


if __name__ == "__main__":
    cli.run(main)
