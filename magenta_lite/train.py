"""Train a model, or resume its run if the run directory already exists.

python -m magenta_lite.train --config=cat-mel_2bar
python -m magenta_lite.train --config=cat-mel_2bar --data=~/my_midi --set train.steps=2000
python -m magenta_lite.train --config=attention_rnn --data=~/my_midi --minutes=30
python -m magenta_lite.train --run_dir=runs/cat-mel_2bar --set train.steps=20000
python -m magenta_lite.train --config=cat-mel_2bar --init_from=runs/big --data=~/my_midi
python -m magenta_lite.train --init_from=PRESET --data=~/my_midi --minutes=30
python -m magenta_lite.train --config=jukebox_prior_mini --vqvae=runs/vqvae_mini
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError

FLAGS = flags.FLAGS

cli.define_config_flags()
cli.define_original_flag()
cli.define_data_flags()
cli.define_path(
    "run_dir", None, "The directory of the run. Default: runs/NAME of the configuration."
)
cli.define_path(
    "init_from",
    None,
    "A run directory of the same sizes, or a preset, whose weights a new run starts with "
    "(fine-tuning). Without --config, the new run has its config.",
)
cli.define_vqvae_flag()
flags.DEFINE_float(
    "minutes",
    None,
    "Time budget of a new run in minutes, instead of --set train.steps=…: its first steps are "
    "measured, and the number of steps, the schedules and the validations are chosen to fit and "
    "stored in config.yaml, so that the same command continues with them. If few steps fit, "
    "train.batch_size is halved until 2,000 fit, unless --set gives it. The time for building a "
    "data set is not included.",
    lower_bound=0.0,
)
flags.DEFINE_string(
    "strategy",
    "auto",
    "Devices to train on: none (one device), mirrored (all GPUs of this machine), multiworker "
    "(TF_CONFIG) or auto. train.batch_size is divided among all replicas.",
)


def main() -> int:
    began = time.monotonic()
    cli.outlive_readers()
    config, run_dir = _config_and_directory()
    print(f"Config: {config.name}; starting TensorFlow", flush=True)
    cli.load_tensorflow()
    from magenta_lite.training.strategy import is_chief, make_strategy

    strategy = make_strategy(FLAGS.strategy)  # before any other TensorFlow code
    from magenta_lite.config import keys_of
    from magenta_lite.converters import build_converter
    from magenta_lite.next_steps import next_steps
    from magenta_lite.shell import quoted
    from magenta_lite.training.signals import Stopped
    from magenta_lite.training.trainer import train

    config = _fine_tuned(config, run_dir)
    opening = time.monotonic()
    config, collection = _open_data(config, run_dir, strategy)
    began += time.monotonic() - opening  # the time for building data does not count
    try:
        given = keys_of(FLAGS.set)
        train(config, run_dir, collection, strategy, FLAGS.init_from, began, given)
    except Stopped as stopped:
        saved = "saved. The same command goes on from there" if stopped.step else "nothing is kept"
        print(f"{stopped}; {saved}.")
        return 128 + stopped.signum
    if is_chief():
        print(f"Done after {time.monotonic() - began:,.0f} s. What to do next:")
        converter = build_converter(config.converter)
        for step in next_steps(run_dir, config, converter, collection, FLAGS.data_dir):
            print(f"  {step}")
        print(f"  tensorboard {quoted(f'--logdir={run_dir}/events')}")
    return 0


def _config_and_directory():
    """Returns the config of the flags, or of the run directory, and the run directory."""
    from magenta_lite.config import keys_of, load_config, override, resumed

    started = FLAGS.run_dir and (Path(FLAGS.run_dir) / "config.yaml").is_file()
    if FLAGS.run_dir and not FLAGS.config and (started or not FLAGS.init_from):
        if FLAGS.original:
            raise UserError("--original is for a new run of --config=NAME; leave it out")
        run_dir = Path(FLAGS.run_dir)
        there = load_config(run_dir / "config.yaml")
        config = cli.with_data(override(there, FLAGS.set))
        return _with_minutes(config, there, run_dir), run_dir
    config, name = _chosen_config()
    run_dir = Path(FLAGS.run_dir or f"runs/{name}")
    if not (run_dir / "config.yaml").is_file():
        return _with_minutes(config, None, run_dir), run_dir
    there = load_config(run_dir / "config.yaml")
    config = resumed(config, there, keys_of(FLAGS.set))
    return _with_minutes(config, there, run_dir), run_dir


def _chosen_config():
    """Returns the config of a new run and its name: of --config, or without it of --init_from."""
    if FLAGS.config or not FLAGS.init_from:
        config = cli.chosen_config()
        return config, config.name.rsplit(":", 1)[-1]
    if FLAGS.original:
        raise UserError("--original is for a new run of --config=NAME; leave it out")
    cli.load_tensorflow()
    from magenta_lite.config import override
    from magenta_lite.training.run import config_and_step

    config, _ = config_and_step(Path(FLAGS.init_from))
    # The precision was chosen for the machine of the other run.
    train = dataclasses.replace(config.train, minutes=0.0, precision="auto")
    config = dataclasses.replace(config, train=train)
    config = cli.with_data(override(config, FLAGS.set))
    return config, f"{Path(FLAGS.init_from).absolute().name}-tuned"


def _with_minutes(config, there, run_dir: Path):
    """Returns the config with --minutes applied; a run of config `there` keeps its steps."""
    if not FLAGS.minutes:
        return config
    from magenta_lite.config import keys_of
    from magenta_lite.training.time_budget import continued

    given = keys_of(FLAGS.set)
    chosen = {"train.steps", "train.checkpoint_every", "train.minutes", "train.schedule_steps"}
    for key in sorted(given & chosen):
        raise UserError(
            f"--minutes={FLAGS.minutes:g} chooses what --set {key} sets; leave one of them out"
        )
    train = dataclasses.replace(config.train, minutes=FLAGS.minutes)
    config = dataclasses.replace(config, train=train)
    return continued(config, there, run_dir, given) if there else config


def _fine_tuned(config, run_dir: Path):
    """Returns the config; that of a new run with --init_from continues the other's schedules."""
    if not FLAGS.init_from or (run_dir / "config.yaml").is_file():
        return config
    from magenta_lite.config import fine_tuned, keys_of
    from magenta_lite.training.run import config_and_step

    source, step = config_and_step(Path(FLAGS.init_from))
    tuned = fine_tuned(config, source, step, keys_of(FLAGS.set))
    if tuned.objective != config.objective:
        values = tuned.objective.schedules_in_words(config.train.steps)
        print(f"Schedules: constant, as at step {step:,} of {FLAGS.init_from}: {values}")
    return tuned


def _open_data(config, run_dir: Path, strategy):
    """Returns the completed config, and its data.

    The chief builds them, if necessary, while the other workers wait.
    """
    from magenta_lite import datasets
    from magenta_lite.data.naming import absolute_source
    from magenta_lite.data.splitting import small_validation
    from magenta_lite.training.run import load_encoder
    from magenta_lite.training.run_directory import RunDirectory
    from magenta_lite.training.strategy import is_chief, wait_for_all

    directory = RunDirectory(run_dir)
    built = "" if FLAGS.data else directory.built
    source = absolute_source(config.data.source)  # independent of the working directory
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    encoder = load_encoder(config)
    config = datasets.completed(config, encoder, FLAGS.data_dir, built)
    # Checks the directory before the data are built.
    with directory.locked(is_chief()):
        directory.check(config, datasets.data_set_name(config, encoder, FLAGS.data_dir, built))
    if not is_chief():
        wait_for_all(strategy)
    collection = datasets.open_data(config, encoder, FLAGS.data_dir, built)
    if is_chief():
        wait_for_all(strategy)
        if warning := small_validation(collection.sizes, collection.report):
            print(warning)
    return config, collection


if __name__ == "__main__":
    cli.run(main)
