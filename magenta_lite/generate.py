"""Generate music with a trained model.

python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --num_outputs=8
python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --mode=reconstruct --input=tune.mid
python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --mode=interpolate \\
    --input=a.mid --input=b.mid --num_outputs=8

Writes each piece as MIDI, as sound (WAV) and as a picture of its piano roll, and prints the paths.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError, unknown_name

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "The directory that `train` filled.")
flags.DEFINE_string("mode", "sample", "What to do: sample, reconstruct or interpolate.")
flags.DEFINE_multi_string("input", [], "A file of music (MIDI, ABC, MusicXML). Repeatable.")
flags.DEFINE_string(
    "window", "1", "Which window of an input: 1 for the first, 2 for the second, …, or all."
)
flags.DEFINE_integer("num_outputs", None, "How many pieces to write.", lower_bound=1)
flags.DEFINE_float(
    "temperature", None, "Below 1 tamer, above 1 wilder, 0 the most probable.", lower_bound=0.0
)
flags.DEFINE_integer("seed", 0, "The same seed gives the same music.")
flags.DEFINE_float("qpm", None, "Tempo in quarter notes a minute.", lower_bound=1.0)
flags.DEFINE_integer("program", None, "General MIDI program.", lower_bound=0, upper_bound=127)
flags.DEFINE_string("output_dir", "generated", "Where the files go.")


@dataclasses.dataclass(frozen=True)
class GenerateRequest:
    """What the user asks a model for.

    Attributes:
        mode: One of the family's `MODES`.
        inputs: Pairs of a file's name and its NoteSequence.
        window: Which window of an input: a number from 1, or `all`.
        num_outputs: How many pieces.
        temperature: Divides the logits.
        seed: Of every random draw.
        qpm: Tempo of what is written.
        program: General MIDI program of what is written, 0 to 127.
    """

    mode: str
    inputs: list
    window: str
    num_outputs: int
    temperature: float
    seed: int
    qpm: float
    program: int


def main() -> None:
    if not FLAGS.run_dir:
        raise UserError("--run_dir is missing: the directory that `train` filled")
    inputs = [pair for path in FLAGS.input for pair in _read(path)]
    cli.load_tensorflow()
    from magenta_lite.training.run_directory import load_run

    run = load_run(Path(FLAGS.run_dir))
    family = importlib.import_module(f"magenta_lite.models.{run.config.family}.generation")
    if FLAGS.mode not in family.MODES:
        raise unknown_name("--mode", FLAGS.mode, family.MODES)

    defaults = run.config.generate
    request = GenerateRequest(
        mode=FLAGS.mode,
        inputs=inputs,
        window=FLAGS.window,
        seed=FLAGS.seed,
        **{
            name: getattr(defaults, name) if FLAGS[name].value is None else FLAGS[name].value
            for name in ("num_outputs", "temperature", "qpm", "program")
        },
    )
    sequences = family.generate(run.model, run.encoder, request)

    from magenta_lite.outputs import write_sequences

    stem = f"{run.config.name.rsplit(':', 1)[-1]}-{FLAGS.mode}-seed{FLAGS.seed}"
    for path in write_sequences(sequences, Path(FLAGS.output_dir), stem):
        print(path)


def _read(path: str) -> list:
    from magenta_lite.data.reading import read_file

    return [(piece.name, piece.sequence) for piece in read_file(path)]


if __name__ == "__main__":
    cli.run(main)
