"""Generate music with a trained model.

python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --num_outputs=8
python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --mode=reconstruct --input=tune.mid
python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --mode=interpolate \\
    --input=a.mid --input=b.mid --num_outputs=8
python -m magenta_lite.generate --run_dir=runs/chords --chords="C Am F G" --bars=8

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
flags.DEFINE_string(
    "mode", "sample", "What to do: sample, reconstruct, interpolate, or attribute (adds one)."
)
flags.DEFINE_multi_string("input", [], "A file of music (MIDI, ABC, MusicXML). Repeatable.")
flags.DEFINE_string(
    "window", "1", "Which window of an input: 1 for the first, 2 for the second, …, or all."
)
flags.DEFINE_integer(
    "bars",
    None,
    "Make pieces of so many bars: windows side by side, of the inputs or on a path through latent "
    "space. Default: one window.",
    lower_bound=1,
)
flags.DEFINE_string("chords", "", 'Chords to follow, spread evenly, e.g. "C Am F G".')
flags.DEFINE_string("attribute", "", "Attribute vector that `magenta_lite.latents` wrote.")
flags.DEFINE_float("amount", 1.0, "How much of the attribute to add; below 0 takes it away.")
flags.DEFINE_integer("num_outputs", None, "How many pieces to write.", lower_bound=1)
flags.DEFINE_float(
    "temperature", None, "Below 1 tamer, above 1 wilder, 0 the most probable.", lower_bound=0.0
)
flags.DEFINE_integer("seed", 0, "The same seed gives the same music.")
flags.DEFINE_float("qpm", None, "Tempo in quarter notes a minute.", lower_bound=1.0)
flags.DEFINE_list(
    "programs", None, "General MIDI programs (0-127) of the melodic parts, e.g. 24 or 0,33."
)
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
        programs: General MIDI programs of the melodic parts; empty for the encoder's own.
        bars: Length of a piece; None for one window.
        chords: Chord symbols to follow.
        attribute: Path of an attribute vector.
        amount: How much of it to add.
    """

    mode: str
    inputs: list
    window: str
    num_outputs: int
    temperature: float
    seed: int
    qpm: float
    programs: tuple[int, ...] = ()
    bars: int | None = None
    chords: str = ""
    attribute: str = ""
    amount: float = 1.0


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
        programs=_programs(defaults.programs),
        bars=FLAGS.bars,
        chords=FLAGS.chords,
        attribute=FLAGS.attribute,
        amount=FLAGS.amount,
        **{
            name: getattr(defaults, name) if FLAGS[name].value is None else FLAGS[name].value
            for name in ("num_outputs", "temperature", "qpm")
        },
    )
    sequences = family.generate(run.model, run.encoder, request)

    from magenta_lite.outputs import write_sequences

    stem = f"{run.config.name.rsplit(':', 1)[-1]}-{FLAGS.mode}-seed{FLAGS.seed}"
    for path in write_sequences(sequences, Path(FLAGS.output_dir), stem):
        print(path)


def _programs(default: tuple[int, ...]) -> tuple[int, ...]:
    if FLAGS.programs is None:
        return default
    try:
        return tuple(int(program) for program in FLAGS.programs)
    except ValueError as error:
        raise UserError(
            f"--programs={','.join(FLAGS.programs)} must be numbers from 0 to 127"
        ) from error


def _read(path: str) -> list:
    from magenta_lite.data.reading import read_file

    return [(piece.name, piece.sequence) for piece in read_file(path)]


if __name__ == "__main__":
    cli.run(main)
