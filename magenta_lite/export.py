"""Export a trained model as a SavedModel, which loads with TensorFlow alone.

python -m magenta_lite.export --run_dir=runs/cat-mel_2bar --output=exported/cat-mel_2bar
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from magenta_lite import cli

FLAGS = flags.FLAGS

cli.define_run_flags()
cli.define_path("output", None, "The SavedModel's directory; must be empty or not exist.")
flags.DEFINE_bool(
    "xla",
    False,
    "Keep XLA compilation of loops: faster with XLA, but refused by TensorFlow Serving.",
)


def main() -> None:
    cli.require("run_dir", "output")
    cli.load_tensorflow()
    from magenta_lite.serving.saved_model import export_saved_model

    folder = Path(FLAGS.output)
    signatures = export_saved_model(cli.load_run(), folder, FLAGS.xla)
    print(f"Wrote {folder} with the signatures")
    for name, inputs in signatures.items():
        print(f"  {name}({', '.join(inputs)})")


if __name__ == "__main__":
    cli.run(main)
