"""Export a trained model for other programs.

python -m magenta_lite.export --run_dir=runs/cat-mel_2bar --output=exported/cat-mel_2bar
python -m magenta_lite.export --preset=NAME --output=exported/NAME

--format=saved_model, the default, is for TensorFlow and TensorFlow Serving; magenta_js is for
browsers, where @magenta/music runs it; litert and onnx are for phones, small computers, browsers
and other programs that call a model step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError

if TYPE_CHECKING:
    from magenta_lite.training.run import Run

FLAGS = flags.FLAGS

cli.define_run_flags()
cli.define_path(
    "output",
    None,
    "The folder of the exported model. A SavedModel becomes OUTPUT/1, OUTPUT/2 …; otherwise the "
    "folder must be empty or not exist.",
)
flags.DEFINE_integer(
    "version", None, "[saved_model] Number of the version. (default: the next one)", lower_bound=1
)
flags.DEFINE_bool(
    "xla",
    False,
    "[saved_model] Keep XLA compilation of loops: faster with XLA, but refused by TensorFlow "
    "Serving.",
)
flags.DEFINE_enum(
    "quantize",
    "none",
    ["none", "uint16", "uint8"],
    "[magenta_js, litert, onnx] Store each weight in 1 byte (uint8) instead of 4, or, for "
    "magenta_js, in 2 (uint16).",
)
cli.define_path(
    "magenta_music",
    None,
    "[magenta_js] The file node_modules/@magenta/music/dist/magentamusic.js, which becomes a part "
    "of the page that plays samples. Without it the page needs that file beside it.",
)


class Format(NamedTuple):
    """A form in which models are exported.

    Attributes:
        write: Writes a run's model to a folder, and prints what it has written.
        flags: Names of the flags that are for this format only.
    """

    write: Callable[[Run, Path], None]
    flags: tuple[str, ...] = ()


def _write_saved_model(run: Run, folder: Path) -> None:
    from magenta_lite.serving.saved_model import export_saved_model

    place, signatures = export_saved_model(run, folder, FLAGS.version, FLAGS.xla)
    print(f"Wrote {place} with the signatures")
    for name, inputs in signatures.items():
        print(f"  {name}({', '.join(inputs)})")


def _write_magenta_js(run: Run, folder: Path) -> None:
    from magenta_lite.serving.magenta_js import export_magenta_js

    library = Path(FLAGS.magenta_music) if FLAGS.magenta_music else None
    size = export_magenta_js(run, folder, FLAGS.quantize, library)
    print(f"Wrote {folder} for @magenta/music ({size / 1e6:.1f} MB of weights)")
    print(f"Open {folder / 'index.html'} in a browser", end="")
    print("" if library else "; it needs magentamusic.js of @magenta/music beside it")


def _write_steps(run: Run, folder: Path) -> None:
    from magenta_lite.serving.steps import export_steps

    sizes = export_steps(run, folder, FLAGS.format, FLAGS.quantize)
    print(f"Wrote {folder} with the functions")
    for name, size in sizes.items():
        print(f"  {name} ({size / 1e6:.1f} MB)")
    if (folder / "sample.py").exists():
        print(f"Sample with: python {folder / 'sample.py'} --seed=1")


FORMATS = {
    "saved_model": Format(_write_saved_model, ("version", "xla")),
    "magenta_js": Format(_write_magenta_js, ("quantize", "magenta_music")),
    "litert": Format(_write_steps, ("quantize",)),
    "onnx": Format(_write_steps, ("quantize",)),
}
flags.DEFINE_enum("format", "saved_model", list(FORMATS), "What to write.")


def check_flags(name: str) -> None:
    """Raises: UserError if a flag was given that only other formats than `name` have."""
    for flag in dict.fromkeys(flag for format in FORMATS.values() for flag in format.flags):
        if flag in FORMATS[name].flags or not FLAGS[flag].present:
            continue
        owners = [f"--format={other}" for other in FORMATS if flag in FORMATS[other].flags]
        raise UserError(
            f"--{flag} means nothing to --format={name}; it is a flag of {' and '.join(owners)}"
        )


def main() -> None:
    cli.require("output")
    cli.run_path()  # raises before TensorFlow is loaded
    check_flags(FLAGS.format)
    cli.load_tensorflow()
    FORMATS[FLAGS.format].write(cli.load_run(), Path(FLAGS.output))


if __name__ == "__main__":
    cli.run(main)
