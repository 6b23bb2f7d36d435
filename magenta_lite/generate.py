"""Generate music with a trained model.

python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --num_outputs=8
python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --mode=reconstruct --input=tune.mid
python -m magenta_lite.generate --run_dir=runs/cat-mel_2bar --mode=interpolate \\
    --input=a.mid --input=b.mid --num_outputs=8
python -m magenta_lite.generate --run_dir=runs/chords --chords="C Am F G" --bars=8
python -m magenta_lite.generate --run_dir=runs/attention_rnn --primer_melody="[60, -2, 62]"
python -m magenta_lite.generate --run_dir=runs/drum_kit_rnn --primer_drums="[(36,), (), (42,)]"
python -m magenta_lite.generate --run_dir=runs/attention_improv \\
    --backing_chords="C G Am F" --steps_per_chord=16 --render_chords
python -m magenta_lite.generate --run_dir=runs/performance_with_dynamics \\
    --primer_pitches="[60, 64, 67]" --num_steps=3000
python -m magenta_lite.generate --run_dir=runs/music_transformer --mode=continue \\
    --input=primer.mid --num_tokens=2048
python -m magenta_lite.generate --run_dir=runs/music_transformer_melody --mode=accompany \\
    --input=melody.mid
python -m magenta_lite.generate --run_dir=runs/musenet --style=jazz \\
    --instruments=piano,bass,drums --strict --minutes=2

python -m magenta_lite.generate --run_dir=runs/vqvae_mini --mode=reconstruct --input=song.wav
python -m magenta_lite.generate --run_dir=runs/jukebox_prior_mini \\
    --upsamplers=runs/jukebox_upsampler_mini --total_seconds=10 --genre=chorale

Writes each piece as MIDI, as sound (WAV) and as a picture of its piano roll, or sound with its
spectrogram, and prints the paths.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from pathlib import Path

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError, unknown_name

FLAGS = flags.FLAGS

flags.DEFINE_string("run_dir", None, "The directory that `train` filled.")
flags.DEFINE_string(
    "mode",
    "sample",
    "What to do: sample, continue, accompany, reconstruct, interpolate, or attribute (adds one).",
)
flags.DEFINE_multi_string(
    "input",
    [],
    "A file of music (MIDI, ABC, MusicXML, MuseNet's tokens as .txt), or of sound for models of "
    "sound. Repeatable.",
)
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
# Models that go on from a primer; the others refuse these.
flags.DEFINE_string(
    "primer_melody",
    "",
    'Events to go on from or to accompany, one a 16th: pitches, -1 off, -2 none: "[60, -2, 62]".',
)
flags.DEFINE_string(
    "primer_drums", "", 'What is hit on each step to go on from: "[(36,), (), (36, 42)]".'
)
flags.DEFINE_string("primer_pitches", "", 'A chord to go on from: "[60, 64, 67]".')
flags.DEFINE_string("backing_chords", "", 'Chords to play over, of equal length: "C G Am F".')
flags.DEFINE_integer("steps_per_chord", 16, "Length of each of them.", lower_bound=1)
flags.DEFINE_bool("render_chords", False, "Write the chords as notes, too.")
flags.DEFINE_integer(
    "num_steps",
    None,
    "Steps of a piece, primer included: 16ths, and of performances hundredths of a second.",
    lower_bound=2,
)
flags.DEFINE_integer("new_steps", None, "Steps to add to the primer.", lower_bound=1)
flags.DEFINE_integer(
    "num_tokens", None, "Tokens of a piece, primer included, for transformers.", lower_bound=1
)
flags.DEFINE_string("style", "", "Style of a MuseNet piece; one of its encoder's styles.")
flags.DEFINE_list(
    "instruments", [], "Who plays in a MuseNet piece, e.g. piano,bass,drums: what it is told."
)
flags.DEFINE_bool("strict", False, "Nobody but --instruments plays.")
flags.DEFINE_float(
    "minutes", None, "Length of a MuseNet piece, which it keeps to.", lower_bound=0.01
)
flags.DEFINE_float(
    "guidance",
    1.0,
    "How much a MuseNet heeds --style and --instruments: 1 as it learned, 2 to 4 more.",
    lower_bound=0.0,
)
flags.DEFINE_integer(
    "candidates", 1, "Write so many MuseNet pieces for each that is kept.", lower_bound=1
)
flags.DEFINE_enum(
    "rank",
    "critic",
    ["critic", "likelihood"],
    "Which of them are kept: by the model's critic, or the likeliest.",
)
flags.DEFINE_float(
    "primer_seconds", 20.0, "How much of --input transformers go on from.", lower_bound=0.01
)
flags.DEFINE_float(
    "total_seconds", 10.0, "Length of a Jukebox piece, the prompt included.", lower_bound=0.01
)
flags.DEFINE_float(
    "prompt_seconds", 5.0, "How much of --input a Jukebox goes on from.", lower_bound=0.01
)
flags.DEFINE_string("artist", "", "Who a Jukebox piece is like; a name of its training data.")
flags.DEFINE_string("genre", "", "Of what kind it is; likewise.")
flags.DEFINE_string("lyrics", "", "What is sung in it: the text, or a text file.")
flags.DEFINE_list(
    "upsamplers", [], "Run directories of the upsamplers that write a Jukebox's finer levels."
)
flags.DEFINE_list(
    "temperatures", [], "Of each level of a Jukebox, the top one first, instead of --temperature."
)
flags.DEFINE_enum(
    "prior",
    "data",
    ["data", "standard"],
    "Where a MusicVAE samples: where the training music lies in latent space, as far as the model "
    "was trained here, or N(0, I).",
)
flags.DEFINE_bool("only_new", False, "Write what was added, without the primer.")
flags.DEFINE_bool("drop_melody", False, "Write an accompaniment without the melody it is for.")
flags.DEFINE_bool(
    "magenta_timing",
    False,
    "End the primer with a note-off and an empty step, and keep its notes that had to be folded "
    "into the model's range there, as the original does.",
)
flags.DEFINE_integer("top_k", 0, "Draw from so many of the most probable; 0: all.", lower_bound=0)
flags.DEFINE_float(
    "top_p",
    1.0,
    "Draw from the most probable that together reach this probability.",
    lower_bound=0.0,
    upper_bound=1.0,
)
flags.DEFINE_float(
    "min_p",
    0.0,
    "Draw from those that are at least this share as probable as the most probable one.",
    lower_bound=0.0,
    upper_bound=1.0,
)
flags.DEFINE_integer("beam_size", 1, "Keep so many of the likeliest samples.", lower_bound=1)
flags.DEFINE_integer("branch_factor", 1, "Samples to draw from each of them.", lower_bound=1)
flags.DEFINE_integer("steps_per_iteration", 1, "Steps before some are kept.", lower_bound=1)
flags.DEFINE_bool("best_beam", False, "Search for the likeliest pieces instead of sampling.")
flags.DEFINE_bool("tokens", False, "Write the ids of MuseNet pieces, too, as .txt.")
flags.DEFINE_bool(
    "copies", False, "Say how much of each MuseNet piece stands in the training set, in any key."
)
cli.define_data_flags()
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
        qpm_given: Whether the user asked for this tempo.
        primer_melody: Events to go on from, a list as text; empty for none.
        primer_drums: Drums to go on from, a list as text; empty for none.
        primer_pitches: A chord to go on from, a list as text; empty for none.
        backing_chords: Chord symbols of equal length to play over; empty for the family's own.
        steps_per_chord: Length of each of them.
        render_chords: Write them as notes, too.
        num_steps: Steps of a piece, primer included; None for the family's usual.
        new_steps: Steps to add to a primer; None to go by `num_steps`.
        num_tokens: Tokens of a piece, primer included; None for the family's usual.
        style: Of a piece; empty to leave it open.
        instruments: Names of instruments or families; empty to leave it open.
        strict: Whether only those may play.
        minutes: Length of a piece; None for open.
        guidance: How much more than by itself a model heeds style and instruments; 1 for not.
        candidates: Pieces to write for each one that is kept.
        rank: What decides which are kept: `critic` or `likelihood`.
        primer_seconds: How much of an input is gone on from.
        total_seconds: Length of a piece of sound, prompt included.
        prompt_seconds: How much of a sound is gone on from.
        artist: Name of who the piece is like; empty for open.
        genre: Name of its kind; empty for open.
        lyrics: Text that is sung.
        upsamplers: Run directories of what writes finer levels.
        temperatures: Of each level, as text, the top one first; empty for `temperature`.
        prior: What a MusicVAE draws latent vectors from, see its `latents`.
        unfinished: Where what is written so far is kept; None for nowhere.
        only_new: Leave the primer out of what is written.
        drop_melody: Leave the melody out of an accompaniment.
        magenta_timing: Treat the primer as the original does.
        top_k: Draw from so many of the most probable; 0 for all.
        top_p: Draw from the most probable that together reach this probability.
        min_p: Draw from those at least this share as probable as the most probable one.
        beam_size: Samples to keep.
        branch_factor: Samples to draw from each of them.
        steps_per_iteration: Steps before some are kept.
        best_beam: Search for the likeliest pieces instead of sampling.
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
    qpm_given: bool = False
    primer_melody: str = ""
    primer_drums: str = ""
    primer_pitches: str = ""
    backing_chords: str = ""
    steps_per_chord: int = 16
    render_chords: bool = False
    num_steps: int | None = None
    new_steps: int | None = None
    num_tokens: int | None = None
    style: str = ""
    instruments: tuple[str, ...] = ()
    strict: bool = False
    minutes: float | None = None
    guidance: float = 1.0
    candidates: int = 1
    rank: str = "critic"
    primer_seconds: float = 20.0
    total_seconds: float = 10.0
    prompt_seconds: float = 5.0
    artist: str = ""
    genre: str = ""
    lyrics: str = ""
    upsamplers: tuple[str, ...] = ()
    temperatures: tuple[str, ...] = ()
    prior: str = "data"
    unfinished: Path | None = None
    only_new: bool = False
    drop_melody: bool = False
    magenta_timing: bool = False
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    beam_size: int = 1
    branch_factor: int = 1
    steps_per_iteration: int = 1
    best_beam: bool = False


# Fields, with the flags of their names, that a family must name in its `OPTIONS` to understand.
CONTINUATION = (
    "primer_melody",
    "primer_drums",
    "primer_pitches",
    "backing_chords",
    "steps_per_chord",
    "render_chords",
    "num_steps",
    "new_steps",
    "num_tokens",
    "style",
    "instruments",
    "strict",
    "minutes",
    "guidance",
    "candidates",
    "rank",
    "primer_seconds",
    "total_seconds",
    "prompt_seconds",
    "artist",
    "genre",
    "lyrics",
    "upsamplers",
    "temperatures",
    "prior",
    "only_new",
    "drop_melody",
    "magenta_timing",
    "top_k",
    "top_p",
    "min_p",
    "beam_size",
    "branch_factor",
    "steps_per_iteration",
    "best_beam",
)


def main() -> None:
    if not FLAGS.run_dir:
        raise UserError("--run_dir is missing: the directory that `train` filled")
    from magenta_lite.config import load_config
    from magenta_lite.encoders import SOUND_ENCODERS

    encoder = load_config(Path(FLAGS.run_dir).expanduser() / "config.yaml").encoder
    is_sound = encoder.kind in SOUND_ENCODERS
    read = functools.partial(_read_sound, encoder) if is_sound else _read
    inputs = [pair for path in FLAGS.input for pair in read(path)]
    cli.load_tensorflow()
    from magenta_lite.training.run_directory import load_run

    run = load_run(Path(FLAGS.run_dir))
    family = importlib.import_module(f"magenta_lite.models.{run.config.family}.generation")
    if FLAGS.mode not in family.MODES:
        raise unknown_name("--mode", FLAGS.mode, family.MODES)
    _check_options(run.config.family, getattr(family, "OPTIONS", ()))
    for name, method in (("tokens", "text_of"), ("copies", "contour")):
        if FLAGS[name].value and not hasattr(run.encoder, method):
            raise UserError(f"--{name} means nothing to a {run.config.family} model; leave it out")

    defaults = run.config.generate
    stem = f"{run.config.name.rsplit(':', 1)[-1]}-{FLAGS.mode}-seed{FLAGS.seed}"
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
        qpm_given=FLAGS.qpm is not None,
        unfinished=Path(FLAGS.output_dir) / f"{stem}.codes.npz",
        **{name: FLAGS[name].value for name in CONTINUATION if name != "lyrics"},
        lyrics=_text(FLAGS.lyrics),
        **{
            name: getattr(defaults, name) if FLAGS[name].value is None else FLAGS[name].value
            for name in ("num_outputs", "temperature", "qpm")
        },
    )
    sequences = family.generate(run.model, run.encoder, request)

    from magenta_lite.outputs import write_sequences, write_sounds

    write = write_sounds if is_sound else write_sequences
    paths = write(sequences, Path(FLAGS.output_dir), stem)
    if FLAGS.tokens:
        midi = [path for path in paths if path.suffix == ".mid"]
        for path, sequence in zip(midi, sequences, strict=True):
            path.with_suffix(".txt").write_text(run.encoder.text_of(sequence))
            paths.append(path.with_suffix(".txt"))
    for path in paths:
        print(path)
    if FLAGS.copies:
        _report_copies(run, sequences)


def _report_copies(run, sequences) -> None:
    from magenta_lite.data import copies
    from magenta_lite.data.collections import open_collection

    data = cli.with_data(run.config).data
    collection = open_collection(data, run.config.encoder, FLAGS.data_dir)
    for line in copies.report(run.encoder, sequences, collection.split("train")):
        print(line)


def _check_options(family: str, known: tuple[str, ...]) -> None:
    """Raises: UserError if a flag was given that means nothing to the model's family."""
    for name in CONTINUATION:
        if name not in known and FLAGS[name].value != FLAGS[name].default:
            raise UserError(f"--{name} means nothing to a {family} model; leave it out")


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


def _text(given: str) -> str:
    """Returns what was given, or what is in the file of that name."""
    try:
        path = Path(given)
        return path.read_text(encoding="utf-8-sig") if given and path.is_file() else given
    except OSError:  # too long to be a name
        return given


def _read_sound(encoder, path: str) -> list:
    from magenta_lite.data.audio import read_audio

    return [(Path(path).name, read_audio(path, encoder.sample_rate, encoder.channels))]


if __name__ == "__main__":
    cli.run(main)
