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
spectrogram, and prints the paths. A reconstruction's input stands beside it. Files are named
RUN-MODE-seedSEED-001-of-004; without --seed each call draws another seed, and none writes over what
is there.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import random
import sys
from pathlib import Path

from absl import flags

from magenta_lite import cli
from magenta_lite.errors import UserError
from magenta_lite.files import replaced, unused_name
from magenta_lite.request import OPTIONAL, GenerateRequest, check_names, rules_of
from magenta_lite.unfinished import Unfinished

FLAGS = flags.FLAGS
MOST_SEED = 2_000_000_000  # families add small numbers to it, below 2 ** 31

cli.define_path("run_dir", None, "The directory that `train` filled.")
cli.define_checkpoint_flag()
flags.DEFINE_string(
    "mode",
    "sample",
    "What to do: sample, continue, accompany, reconstruct, interpolate, or attribute (adds one).",
)
cli.define_paths(
    "input",
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
cli.define_path("attribute", "", "Attribute vector that `magenta_lite.latents` wrote.")
flags.DEFINE_float("amount", 1.0, "How much of the attribute to add; below 0 takes it away.")
flags.DEFINE_integer("num_outputs", None, "How many pieces to write.", lower_bound=1)
flags.DEFINE_float(
    "temperature", None, "Below 1 tamer, above 1 wilder, 0 the most probable.", lower_bound=0.0
)
flags.DEFINE_integer(
    "seed",
    None,
    "The same seed gives the same music. Default: another one each time, in the files' names.",
    lower_bound=0,
    upper_bound=MOST_SEED,
)
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
flags.DEFINE_string("style", "", "Style of a MuseNet piece; one of its converter's styles.")
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
flags.DEFINE_integer(
    "primer_bars",
    None,
    "How many of the last bars of --input a MelodyRNN goes on from. Default: as many as leave room "
    "for as much that is new.",
    lower_bound=1,
)
flags.DEFINE_float(
    "primer_seconds",
    None,
    "How much of --input is gone on from: its first seconds by transformers (default: 20), its "
    "last by a Performance RNN.",
    lower_bound=0.01,
)
flags.DEFINE_float(
    "total_seconds", 10.0, "Length of a Jukebox piece, the prompt included.", lower_bound=0.01
)
flags.DEFINE_float(
    "prompt_seconds", 5.0, "How much of --input a Jukebox goes on from.", lower_bound=0.01
)
flags.DEFINE_string("artist", "", "Who a Jukebox piece is like; a name of its training data.")
flags.DEFINE_string("genre", "", "Of what kind it is; likewise.")
cli.define_path("lyrics", "", "What is sung in it: the text, or a text file.")
cli.define_path_list(
    "upsamplers", "Run directories of the upsamplers that write a Jukebox's finer levels."
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
cli.define_path(
    "soundfont",
    "",
    "SoundFont 2 file (.sf2) that plays the notes. Default: that of the environment variable "
    "MAGENTA_LITE_SOUNDFONT, or the one that comes with pretty_midi.",
)
cli.define_path("output_dir", "generated", "Where the files go.")


def main() -> None:
    if not FLAGS.run_dir:
        raise UserError("--run_dir is missing: the directory that `train` filled")
    from magenta_lite.config import load_config
    from magenta_lite.converters import SOUND_CONVERTERS, build_converter

    # All that can be wrong is told before TensorFlow is loaded, which takes seconds.
    config = load_config(Path(FLAGS.run_dir) / "config.yaml")
    converter, rules = build_converter(config.converter), rules_of(config.family)
    request = _request(config)
    check_names(config.family, converter, request)
    for name, method in (("tokens", "text_of"), ("copies", "contour")):
        if FLAGS[name].value and not hasattr(converter, method):
            raise UserError(f"--{name} means nothing to a {config.family} model; leave it out")
    is_sound = config.converter.kind in SOUND_CONVERTERS
    read = functools.partial(_read_sound, config.converter) if is_sound else _read
    inputs = [pair for path in FLAGS.input for pair in read(path)]
    request = dataclasses.replace(request, inputs=inputs)
    rules.check(converter, request)
    player = _player(is_sound)

    cli.load_tensorflow()

    run = cli.load_run()
    folder = _made(Path(FLAGS.output_dir))
    family = importlib.import_module(f"magenta_lite.families.{config.family}.generation")
    outputs = family.generate(run.model, run.converter, request)

    from magenta_lite.outputs import write_sequences, write_sounds

    seed = request.unfinished.seed
    seeded = f"-seed{seed}" if rules.DRAWS else ""
    stem = unused_name(folder, _stem(request.mode) + seeded)
    if is_sound:
        paths = write_sounds(outputs, folder, stem)
    else:
        about = _about(run.config.name, request, f"seed {seed}, " if rules.DRAWS else "")
        paths = write_sequences(outputs, folder, stem, player, about)
    if FLAGS.tokens:
        midi = [path for path in paths if path.suffix == ".mid"]
        for path, sequence in zip(midi, outputs, strict=True):
            text = path.with_suffix(".txt")
            with replaced(text) as partial:
                partial.write_text(run.converter.text_of(sequence))
            paths.append(text)
    request.unfinished.remove()
    for path in paths:
        print(path)
    if rules.DRAWS and FLAGS.seed is None:
        print(f"Seed: {seed} (--seed={seed} gives the same again)", file=sys.stderr)
    if FLAGS.copies:
        _report_copies(run, outputs)


def _request(config) -> GenerateRequest:
    """Returns what the flags ask of a model of `config`, without the inputs."""
    defaults = config.generate
    seed = random.SystemRandom().randint(1, 999_999) if FLAGS.seed is None else FLAGS.seed
    given = {name: FLAGS[name].value for name in OPTIONAL}
    chosen = {
        name: getattr(defaults, name) if FLAGS[name].value is None else FLAGS[name].value
        for name in ("num_outputs", "temperature", "qpm")
    }
    unfinished = Unfinished(
        Path(FLAGS.output_dir), _stem(FLAGS.mode), seed, seed_given=FLAGS.seed is not None
    )
    return GenerateRequest(
        mode=FLAGS.mode,
        inputs=[],
        window=FLAGS.window,
        seed=seed,
        programs=_programs(defaults.programs),
        qpm_given=FLAGS.qpm is not None,
        unfinished=unfinished,
        **chosen,
        **{name: _plain(value) for name, value in given.items() if name != "lyrics"},
        lyrics=_text(FLAGS.lyrics),
    )


def _plain(value):
    """Returns the value of a flag as a field has it: no lists."""
    return tuple(value) if isinstance(value, list) else value


def _stem(mode: str) -> str:
    """Returns what the names of all files begin with: the run's and the mode."""
    return f"{Path(os.path.abspath(FLAGS.run_dir)).name}-{mode}"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output_dir={folder} cannot be made: {error.strerror}") from error
    return folder


def _report_copies(run, sequences) -> None:
    from magenta_lite.data import copies
    from magenta_lite.datasets import open_collection

    data = cli.with_data(run.config).data
    collection = open_collection(data, run.config.converter, FLAGS.data_dir)
    for line in copies.report(run.converter, sequences, collection.split("train")):
        print(line)


def _player(is_sound: bool):
    """Returns what plays notes: opened before anything is sampled, so that it cannot fail then."""
    if is_sound:
        if FLAGS.soundfont:
            raise UserError(f"--soundfont={FLAGS.soundfont} means nothing to a model of sound")
        return None
    from magenta_lite.soundfont import open_soundfont

    return open_soundfont(FLAGS.soundfont)


def _about(name: str, request: GenerateRequest, seeded: str) -> str:
    """Returns how music came to be, for its MIDI files."""
    config = name.rsplit(":", 1)[-1]
    return (
        f"magenta_lite {config}, mode {request.mode}, {seeded}temperature {request.temperature:g}"
    )


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
    from magenta_lite.data.listing import read_file

    return [(piece.name, piece.sequence) for piece in read_file(path)]


def _text(given: str) -> str:
    """Returns what was given, or what is in the file of that name."""
    try:
        path = Path(given)
        return path.read_text(encoding="utf-8-sig") if given and path.is_file() else given
    except UnicodeDecodeError as error:
        raise UserError(f"--lyrics={given} is no text in UTF-8") from error
    except OSError:  # too long to be a name
        return given


def _read_sound(converter, path: str) -> list:
    from magenta_lite.data.audio import read_audio

    return [(Path(path).name, read_audio(path, converter.sample_rate, converter.channels))]


if __name__ == "__main__":
    cli.run(main)
