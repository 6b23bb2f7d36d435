"""Common parts of the commands: flags, exit codes, and one-line error messages.

Exit codes: 0 success, 1 failure while running, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from absl import flags

from magenta_lite.errors import UserError, first_line
from magenta_lite.tensorflow_loading import load_tensorflow as load_tensorflow

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.training.run import Run

FLAGS = flags.FLAGS
FlagHelp = Callable[[list[str]], Mapping[str, str]]

FULL_DISK = ("No space left on device", "Not enough disk space", "Disk quota exceeded")
FOLDERS = ("data_dir", "run_dir", "output")  # flags of folders that commands write to

flags.DEFINE_bool("debug", False, "Show the full traceback of an error.")


class PathParser(flags.ArgumentParser):
    """Parses a path; `~` is expanded to the home directory, as in a shell."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)


class PathListParser(flags.ListParser):
    """Parses a comma-separated list of paths."""

    def parse(self, argument: str | list[str]) -> list[str]:
        return [os.path.expanduser(path) for path in super().parse(argument)]


def define_path(name: str, default: str | None, help: str) -> None:
    """Defines a flag whose value is a path, or a name that may be one (`~/music`)."""
    flags.DEFINE(PathParser(), name, default, help)


def define_paths(name: str, help: str) -> None:
    """Defines a flag that may be given several times, each time with a path."""
    flags.DEFINE_multi(PathParser(), flags.ArgumentSerializer(), name, [], help)


def define_path_list(name: str, default: list[str] | None, help: str) -> None:
    """Defines a flag whose value is a comma-separated list of paths."""
    flags.DEFINE(PathListParser(), name, default, help, serializer=flags.ListSerializer(","))


def define_config_flags() -> None:
    """Defines --config and --set."""
    flags.DEFINE_string("config", None, "Name of a configuration, or my_file.py:name.")
    flags.DEFINE_multi_string(
        "set", [], "Change one value of the configuration, e.g. --set train.steps=500. Repeatable."
    )


def define_original_flag() -> None:
    """Defines --original."""
    flags.DEFINE_bool(
        "original",
        False,
        "Use the settings of the original instead of ours, with schedules that count its own "
        "number of steps however short the run is.",
    )


def define_data_flags() -> None:
    """Defines --data and --data_dir."""
    define_path(
        "data",
        None,
        "A folder (or zip, tar, file) of MIDI, ABC, MusicXML or NoteSequence TFRecords; "
        "of WAV, FLAC, OGG or MP3 for models of sound; folk, folk:kids, folk:essen; or tfds:NAME. "
        "Default: the data set of the configuration.",
    )
    define_data_dir_flag()


def define_data_dir_flag() -> None:
    """Defines --data_dir."""
    define_path("data_dir", None, "Folder of built data sets. Default: ~/tensorflow_datasets.")


def define_vqvae_flag() -> None:
    """Defines --vqvae."""
    define_path(
        "vqvae", None, "The run directory of the VQ-VAE whose codes a Jukebox prior models."
    )


def define_run_flags() -> None:
    """Defines --run_dir, --preset and --checkpoint, for commands that load a run."""
    define_path("run_dir", None, "The run directory of `train`.")
    flags.DEFINE_string(
        "preset",
        None,
        "A trained model that comes with the package, instead of --run_dir; "
        "`python -m magenta_lite.presets` lists them.",
    )
    define_checkpoint_flag()


def define_checkpoint_flag() -> None:
    """Defines --checkpoint."""
    flags.DEFINE_string(
        "checkpoint",
        "best",
        "The weights to load: best (by validation), newest, or those of a step.",
    )
    flags.register_validator(
        "checkpoint",
        lambda value: value in ("best", "newest") or value.isdecimal(),
        message="it must be best, newest or a step, e.g. --checkpoint=500",
    )


def require(*names: str) -> None:
    """Raises: UserError if one of these flags is not given."""
    for name in names:
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing, see --help")


def make_folder(flag: str) -> Path:
    """Creates the folder that a flag names. Raises: UserError if it cannot be created."""
    folder = Path(str(FLAGS[flag].value))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--{flag}={folder} cannot be created: {error.strerror}") from error
    return folder


def run_path() -> Path:
    """Returns the run directory of --run_dir, which may be a preset, or the folder of --preset.

    Raises:
        UserError: If neither or both are given, or there is no such preset.
    """
    from magenta_lite import presets

    if FLAGS.run_dir and FLAGS.preset:
        raise UserError(
            f"--run_dir={FLAGS.run_dir} and --preset={FLAGS.preset} are two models; give one"
        )
    if FLAGS.preset:
        return presets.folder_of(FLAGS.preset)
    if not FLAGS.run_dir:
        raise UserError("--run_dir or --preset is missing, see --help")
    path = Path(FLAGS.run_dir)
    return presets.located(path) or path


def load_run() -> Run:
    """Loads the run of --run_dir, with the weights of --checkpoint, or the --preset."""
    from magenta_lite.training.run import load_run

    run = load_run(run_path(), FLAGS.checkpoint)
    if FLAGS.checkpoint == "best" and run.step != run.newest:
        print(
            f"Weights: those of step {run.step:,}, whose validation was best; "
            f"--checkpoint=newest takes those of step {run.newest:,}",
            file=sys.stderr,
        )
    return run


def chosen_config(original: bool = False) -> ExperimentConfig:
    """Returns the configuration given by --config, --set and --data.

    It has the settings of the original with `original`, or if the command has --original and it is
    given.
    """
    from magenta_lite import catalogue
    from magenta_lite.config import config_names, get_config, keys_of

    if not FLAGS.config:
        raise UserError(f"--config is missing; start with one of\n{catalogue.beginnings()}")
    family = catalogue.family_called(FLAGS.config)
    if family and FLAGS.config not in config_names():
        raise UserError(
            f"--config={FLAGS.config} is a family, not a configuration\n{catalogue.listing(family)}"
        )
    original = original or ("original" in FLAGS and FLAGS.original)
    config = get_config(FLAGS.config, FLAGS.set, original)
    own_data = "data" in FLAGS and FLAGS.data is None
    if not own_data and "generate.programs" not in keys_of(FLAGS.set):
        # The programs of a configuration fit its own data set, not other music.
        generate = dataclasses.replace(config.generate, programs=())
        config = dataclasses.replace(config, generate=generate)
    return with_data(config)


def with_data(config: ExperimentConfig) -> ExperimentConfig:
    """Returns `config` with --data and --vqvae, those of them that the command has and are given.

    Raises:
        UserError: If --vqvae is given for a model whose data no other run encodes.
    """
    from magenta_lite.families import FAMILIES

    if "vqvae" in FLAGS and FLAGS.vqvae:
        encoded = FAMILIES[config.family].encoded_data
        if encoded is None:
            raise UserError(f"--vqvae means nothing to {config.name}; leave it out")
        config = encoded.with_run_dir(config, FLAGS.vqvae)
    if "data" in FLAGS and FLAGS.data is not None:
        data = dataclasses.replace(config.data, source=FLAGS.data)
        config = dataclasses.replace(config, data=data)
    return config


class OutlivingStream:
    """A stream that discards its output once its reader is gone, instead of raising."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._try(self._stream.write, text) or 0

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, method, *args):
        try:
            return method(*args)
        except OSError:
            # Buffered output is discarded, too, when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def outlive_readers() -> None:
    """Lets a command continue after its output was closed, as in `train | head`."""
    sys.stdout, sys.stderr = OutlivingStream(sys.stdout), OutlivingStream(sys.stderr)


def _open_closed_streams() -> None:
    """Opens closed standard streams (`2>&-`) on the null device.

    Otherwise the next opened file would get their descriptors, and the printed output.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor
            setattr(sys, name, os.fdopen(null, mode))


def run(
    main: Callable[..., Any],
    argv: list[str] | None = None,
    takes_words: bool = False,
    flag_help: FlagHelp | None = None,
) -> None:
    """Parses the flags, calls `main()` and exits with its code (None means 0).

    Args:
        main: The command.
        argv: Its name and arguments; None for those of this process.
        takes_words: Whether it has positional arguments, which `main(words)` is called with.
        flag_help: Returns, for the arguments of a call with --help, help texts by flag name that
            replace the default ones; an empty text hides the flag.
    """
    sys.exit(_call(main, sys.argv if argv is None else argv, takes_words, flag_help))


def _call(
    main: Callable[..., Any],
    argv: list[str],
    takes_words: bool = False,
    flag_help: FlagHelp | None = None,
) -> int:
    _open_closed_streams()
    # TensorFlow logs harmless messages as errors (e.g. about operations that oneDNN does not
    # implement); real failures also raise an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if "--debug" in argv else "3")
    # note_seq imports pydub, which warns about missing ffmpeg at every start.
    warnings.filterwarnings("ignore", message="Couldn't find ffmpeg")
    try:
        if any(arg in ("-h", "-help", "--help", "--helpfull") for arg in argv[1:]):
            print(_help_text(flag_help(argv) if flag_help else {}), flush=True)
            return 0
        _, *words = FLAGS(argv)
        if takes_words:
            return main(words) or 0
        if words:
            raise UserError(f"'{words[0]}' is not a flag; flags start with --, see --help")
        return main() or 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except flags.UnrecognizedFlagError as error:
        _print_error(_former_flags(argv) or error, argv)
        return 2
    except (UserError, flags.Error) as error:
        _print_error(error, argv)
        return 2
    except Exception as error:
        _print_error(_full_disk(error) or error, argv)
        return 1


def _former_flags(argv: list[str]) -> UserError | None:
    """Returns an error that translates a command with flags of the original code, if it is one."""
    from magenta_lite.former_flags import rewritten

    spec = getattr(sys.modules["__main__"], "__spec__", None)
    verb = spec.name.rpartition(".")[2] if spec else Path(argv[0]).stem
    line = rewritten(verb, argv[1:], lambda name: name in FLAGS)
    return UserError(line) if line else None


def _full_disk(error: Exception) -> UserError | None:
    """Returns an error that names the folders of the command, if a disk is full."""
    if not any(words in str(error) for words in FULL_DISK):
        return None
    folders = [f"--{name}={FLAGS[name].value}" for name in FOLDERS if _is_given(name)]
    place = f" ({' or '.join(folders)})" if folders else ""
    return UserError(
        f"No space left on the disk{place}: {first_line(error)}; make room and repeat the command, "
        "or name folders on another disk"
    )


def _is_given(name: str) -> bool:
    return name in FLAGS and bool(FLAGS[name].value)


def _print_error(error: Exception, argv: list[str]) -> None:
    if "--debug" in argv:
        import traceback

        traceback.print_exception(error)
    kind = "" if isinstance(error, (UserError, flags.Error)) else f"{type(error).__name__}: "
    print(f"Error: {kind}{error}", file=sys.stderr)


def _help_text(helps: Mapping[str, str]) -> str:
    """Returns the command's docstring and the help of its flags, without those of other libraries.

    `helps` are those of `run`'s `flag_help`.
    """
    ours = {FLAGS["debug"].name}
    main = sys.modules["__main__"]
    for module, names in FLAGS.flags_by_module_dict().items():
        if module in (sys.argv[0], __name__, "__main__") or module.startswith("magenta_lite"):
            ours.update(flag.name for flag in names)
    lines = [(main.__doc__ or "").strip(), "", "Flags:"]
    for name in sorted(ours):
        flag = FLAGS[name]
        default = "" if flag.default in (None, [], "") else f" (default: {flag.default})"
        if text := helps.get(name, f"{flag.help}{default}"):
            lines.append(f"  --{name}: {text}")
    return "\n".join(lines)
