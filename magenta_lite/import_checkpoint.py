"""Import a checkpoint that was trained with the original code into a run directory.

python -m magenta_lite.import_checkpoint --config=cat-mel_2bar_big \\
    --checkpoint=cat-mel_2bar_big.tar --run_dir=runs/cat-mel_2bar_big

The checkpoint is a TensorFlow 1 checkpoint (a prefix, a directory, or the published tar file), a
generator bundle (.mag) of melody_rnn, a folder of magenta-js (`weights_manifest.json`, its shards
and `config.json`), or a PyTorch file of Jukebox (.pth.tar).

python -m magenta_lite.import_checkpoint --config=jukebox_vqvae --checkpoint=vqvae.pth.tar \\
    --run_dir=runs/jukebox_vqvae
python -m magenta_lite.import_checkpoint --config=jukebox_prior_1b_lyrics \\
    --checkpoint=prior_level_2.pth.tar --vqvae=runs/jukebox_vqvae --run_dir=runs/1b_lyrics
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError

FLAGS = flags.FLAGS

cli.define_path(
    "checkpoint", None, "Prefix, directory, tar, .mag or .pth.tar file, or magenta-js folder."
)
cli.define_vqvae_flag()
cli.define_path("run_dir", None, "Where to write; must not hold a run yet.")
cli.define_config_flags()


def main() -> None:
    cli.require("checkpoint", "run_dir")
    config = cli.chosen_config(original=True)
    cli.load_tensorflow()
    from magenta_lite.checkpoints import checks, magenta_js
    from magenta_lite.checkpoints.readers import READERS
    from magenta_lite.converters import build_converter
    from magenta_lite.families.building import build_model, count_weights
    from magenta_lite.layers.initial_values import replaced_at_once
    from magenta_lite.next_steps import next_steps
    from magenta_lite.training.run import write_imported_run

    reader = READERS.get(config.family)
    if reader is None:
        raise UserError(
            f"--config={config.name}: there are no published checkpoints of this model; "
            "magenta_lite.train trains it"
        )
    converter = build_converter(config.converter)
    if magenta_js.is_folder(FLAGS.checkpoint):
        opened = magenta_js.open_checkpoint(FLAGS.checkpoint, converter)
    else:
        opened = reader.open(FLAGS.checkpoint)
    with opened as variables, checks.fitting(FLAGS.checkpoint):
        config = reader.fitted_config(config, converter, variables)
        converter = build_converter(config.converter)
        checks.check_size(count_weights(config, converter), variables)
        with replaced_at_once():
            model = build_model(config, converter)
        reader.load_weights(model, variables)
        step = variables.global_step
    path = write_imported_run(
        config, converter, model, step, Path(FLAGS.run_dir), source=FLAGS.checkpoint
    )
    if reader.licence:
        print(reader.licence)
    print(f"Wrote {path} (step {step}). Next:")
    for command in next_steps(Path(FLAGS.run_dir), config, converter):
        print(f"  {command}")


if __name__ == "__main__":
    cli.run(main)
