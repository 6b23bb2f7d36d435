"""Generate music with a trained model.

python -m magenta_lite.generate --preset=NAME
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
python -m magenta_lite.generate --run_dir=runs/music_transformer --mode=infill --input=song.mid \\
    --bars=5-8
python -m magenta_lite.generate --run_dir=runs/music_transformer_melody --mode=accompany \\
    --input=melody.mid
python -m magenta_lite.generate --run_dir=runs/musenet --style=jazz \\
    --instruments=piano,bass,drums --strict --minutes=2
python -m magenta_lite.generate --run_dir=runs/musenet --density=drums:high,piano:low \\
    --polyphony=piano:high --pitch_range=bass:narrow --note_length=piano:short
python -m magenta_lite.generate --run_dir=runs/musenet --mode=infill --input=song.mid \\
    --bars=5-8 --tracks=melody,bass

python -m magenta_lite.generate --run_dir=runs/vqvae_mini --mode=reconstruct --input=song.wav
python -m magenta_lite.generate --run_dir=runs/jukebox_prior_mini \\
    --upsamplers=runs/jukebox_upsampler_mini --total_seconds=10 --genre=chorale

Writes each piece as a MIDI file, a WAV file and a picture of its piano roll; audio models write a
WAV file and a picture of its spectrogram. Prints the paths. The input of a reconstruction is
written next to it. Files are named RUN-MODE-seedSEED-001-of-004; without --seed each call draws a
new seed, and no call overwrites existing files. With --run_dir=RUN or --preset=NAME, --help shows
only the options of that model; `python -m magenta_lite.presets` lists the presets.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

from magenta_lite import cli, option_flags, presets
from magenta_lite.config import ExperimentConfig, load_config
from magenta_lite.converters import SOUND_CONVERTERS, build_converter
from magenta_lite.data.inputs import read_inputs
from magenta_lite.errors import UserError
from magenta_lite.families import FAMILIES
from magenta_lite.files import replaced, unused_name
from magenta_lite.instruments import program_of
from magenta_lite.loudness import levelled
from magenta_lite.modeling.limits import MOST_SEED
from magenta_lite.modeling.options import GenerateOptions, random_seed
from magenta_lite.playing import play
from magenta_lite.unfinished import Unfinished

FLAGS = flags.FLAGS

cli.define_run_flags()
flags.DEFINE_string(
    "mode",
    "sample",
    "sample, continue, accompany, harmonize, infill (rewrites bars), reconstruct, interpolate, or "
    "attribute (adds an attribute).",
)
cli.define_paths(
    "input",
    "A file of music (MIDI, ABC, MusicXML, MuseNet's tokens as .txt), or of sound for models of "
    "sound. Repeatable.",
)
flags.DEFINE_integer("num_outputs", None, "Number of pieces.", lower_bound=1)
flags.DEFINE_float(
    "temperature",
    None,
    "Below 1 closer to the most probable events, above 1 more varied; 0 takes the most probable.",
    lower_bound=0.0,
)
flags.DEFINE_integer(
    "seed",
    None,
    "The same seed gives the same music. Default: a new one each time, part of the file names.",
    lower_bound=0,
    upper_bound=MOST_SEED,
)
flags.DEFINE_float("qpm", None, "Tempo in quarter notes a minute.", lower_bound=1.0)
flags.DEFINE_list(
    "programs",
    None,
    "General MIDI programs (0-127) or their names, one for each melodic part, e.g. 24 or 0,33 or "
    "violin,acoustic bass.",
)
flags.DEFINE_string(
    "program", None, "One General MIDI program (0-127), or its name, for all melodic parts."
)
option_flags.define()
flags.DEFINE_bool("tokens", False, "Also write the token ids of MuseNet pieces as .txt.")
flags.DEFINE_bool(
    "copies",
    False,
    "Report the longest passage of each piece that is in the training set, in any key.",
)
cli.define_data_flags()
cli.define_path(
    "soundfont",
    "",
    "SoundFont 2 file (.sf2) that plays the notes. Default: that of the environment variable "
    "MAGENTA_LITE_SOUNDFONT, or the one that comes with pretty_midi.",
)
cli.define_path("output_dir", "generated", "Folder of the files.")
flags.DEFINE_bool("play", False, "Play the sound with the player of the system.")


def main() -> None:
    # Reports wrong input before TensorFlow is loaded, which takes seconds.
    config = presets.config_of(cli.run_path())
    converter = build_converter(config.converter)
    options = _options(config, converter)
    options.check_names(converter)
    is_sound = config.converter.kind in SOUND_CONVERTERS
    for name, is_known in (("tokens", converter.writes_text), ("copies", not is_sound)):
        if FLAGS[name].value and not is_known:
            raise UserError(f"--{name} means nothing to a {config.family} model; leave it out")
    options = options.replace(inputs=read_inputs(FLAGS.input, converter))
    options.check(converter)
    player = _player(is_sound)

    cli.load_tensorflow()

    run = cli.load_run()
    folder = cli.make_folder("output_dir")
    outputs = run.pieces(options)

    from magenta_lite.outputs import write_sequences, write_sounds

    unfinished: Any = options.unfinished  # set by `_options`
    seed = unfinished.seed
    seeded = f"-seed{seed}" if options.draws else ""
    stem = unused_name(folder, _stem(options.mode) + seeded)
    if is_sound:
        if options.mode == "sample":  # other outputs are compared with what they are made of
            outputs = [{name: levelled(part) for name, part in each.items()} for each in outputs]
        paths = write_sounds(outputs, folder, stem)
    else:
        preset = [f"preset {FLAGS.preset}"] if FLAGS.preset else []
        about = [f"magenta_lite {run.config.name.rsplit(':', 1)[-1]}", *preset]
        about += [f"mode {options.mode}"]
        about += [f"seed {seed}"] if options.draws else []
        about = ", ".join([*about, f"temperature {options.temperature:g}"])
        paths = write_sequences(outputs, folder, stem, player, about)
    if FLAGS.tokens:
        midi = [path for path in paths if path.suffix == ".mid"]
        for path, sequence in zip(midi, outputs, strict=True):
            text = path.with_suffix(".txt")
            with replaced(text) as partial:
                partial.write_text(run.converter.text_of(sequence))
            paths.append(text)
    unfinished.remove()
    for path in paths:
        print(path)
    if options.draws and FLAGS.seed is None:
        print(f"Seed: {seed} (--seed={seed} gives the same again)", file=sys.stderr)
    if FLAGS.copies:
        _report_memorization(run, outputs)
    if FLAGS.play:
        problem = play([path for path in paths if path.suffix == ".wav"])
        if problem:
            print(problem, file=sys.stderr)


def _options(config: ExperimentConfig, converter: Any) -> GenerateOptions:
    """Returns the options given by the flags, for a model of `config`, without the inputs."""
    options_class = FAMILIES[config.family].options_class
    seed = random_seed() if FLAGS.seed is None else FLAGS.seed
    unfinished = Unfinished(
        Path(FLAGS.output_dir), _stem(FLAGS.mode), seed, seed_given=FLAGS.seed is not None
    )
    common = {name: FLAGS[name].value for name in ("num_outputs", "temperature", "qpm")}
    return options_class.of(
        config.generate,
        mode=FLAGS.mode,
        seed=seed,
        unfinished=unfinished,
        programs=_programs(converter),
        **common,
        **option_flags.given(options_class),
    )


def _stem(mode: str) -> str:
    """Returns the prefix of all file names: the name of the run, and the mode."""
    return f"{Path(os.path.abspath(cli.run_path())).name}-{mode}"


def _report_memorization(run, sequences) -> None:
    from magenta_lite.data import memorization
    from magenta_lite.datasets import open_collection

    data = cli.with_data(run.config).data
    collection = open_collection(data, run.config.converter, FLAGS.data_dir)
    pieces = [getattr(piece, "output", piece) for piece in sequences]  # of a reconstruction
    for line in memorization.report(run.converter, pieces, collection.split("train")):
        print(line)


def _player(is_sound: bool):
    """Opens the soundfont; called before sampling, so that errors appear early."""
    if is_sound:
        if FLAGS.soundfont:
            raise UserError(f"--soundfont={FLAGS.soundfont} means nothing to a model of sound")
        return None
    from magenta_lite.soundfont import open_soundfont

    return open_soundfont(FLAGS.soundfont)


def _programs(converter: Any) -> tuple[int, ...] | None:
    """Returns the programs given by --programs or --program; None for those of the model."""
    if FLAGS.program is None:
        given = FLAGS.programs
        return None if given is None else tuple(program_of(name, "--programs") for name in given)
    if FLAGS.programs is not None:
        raise UserError("--program is for all parts, --programs for each of them; give one")
    parts = len(converter.default_programs)
    if not parts:
        raise UserError(f"--program={FLAGS.program}: this model has no melodic part to play on it")
    return (program_of(FLAGS.program, "--program"),) * parts


def _flag_help(argv: list[str]) -> dict[str, str]:
    """Returns the help of the options for the model of --run_dir or --preset, if there is one."""
    names = ("--run_dir", "--preset")
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    words = [f"{arg}={value}" if arg in names else arg for arg, value in pairs]
    FLAGS(["generate", *(word for word in words if word.partition("=")[0] in names)])
    if not (FLAGS.run_dir or FLAGS.preset):
        return {}
    path = cli.run_path() / "config.yaml"
    if not path.is_file():
        return {}
    config = load_config(path)
    converter = build_converter(config.converter)
    hidden = () if converter.writes_text else ("tokens",)
    if config.converter.kind in SOUND_CONVERTERS:
        hidden += ("copies", "data", "data_dir")
    options_class = FAMILIES[config.family].options_class
    return option_flags.help_for(options_class, converter) | dict.fromkeys(hidden, "")


if __name__ == "__main__":
    cli.run(main, flag_help=_flag_help)
