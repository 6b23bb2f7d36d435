"""Trained models that come with the package, by name. Imports no TensorFlow.

Each is a folder beside this file, named like the preset:

preset.json          what it is, how to try it, and the SHA-256 of the other files
config.yaml          config of the training run
converter.json       settings of the converter
weights.safetensors  weights as plain arrays, in float16 or float32
example.mid          held-out music, if the model needs an input; example.ogg if that is sound
CARD.md              data, training, numbers, and what the model is bad at

Wherever a run directory is expected, the name or the folder of a preset will do, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from magenta_lite.config import ExperimentConfig, load_config
from magenta_lite.errors import UserError, first_line, unknown_name

FOLDER = Path(__file__).parent
FORMAT = 1  # of the folder of a preset; readers refuse newer ones
MANIFEST, CONFIG, CONVERTER = "preset.json", "config.yaml", "converter.json"
WEIGHTS, CARD = "weights.safetensors", "CARD.md"
EXAMPLES = ("example.mid", "example.ogg")  # a preset has at most one of them
CHECKED = (CONFIG, CONVERTER, WEIGHTS, CARD)
KINDS = {"int": int, "str": str, "list[str]": list, "dict[str, str]": dict}
AGAIN = "install magenta_lite again, or copy the folder again"


@dataclasses.dataclass(frozen=True)
class Preset:
    """What `preset.json` says.

    Attributes:
        about: What the model does, in a few words.
        model: Name of its configuration.
        weights: Number of weights.
        step: Step of the training run at which they stood.
        dtype: `float16` or `float32`, the type of the trained weights in the file.
        data: The music that it was trained on.
        licence: Terms of that music.
        flags: Flags of `generate` with which to try it; `{example}` is the path of the example.
        version: Version of magenta_lite that wrote the folder.
        sha256: Hash of each other file, by name.
        format: See `FORMAT`.
    """

    about: str
    model: str
    weights: int
    step: int
    dtype: str
    data: str
    licence: str
    flags: list[str]
    version: str
    sha256: dict[str, str]
    format: int = FORMAT

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) is not KINDS[str(field.type)]:
                raise TypeError(f"{field.name} is {value!r:.40}")
        for text in (*self.flags, *self.sha256.values()):
            if type(text) is not str:
                raise TypeError(f"{text!r:.40} is not a text")

    @property
    def example(self) -> str:
        """Name of the example's file; empty without one."""
        return next((name for name in EXAMPLES if name in self.sha256), "")


def names() -> list[str]:
    """Returns the names of the presets of this installation."""
    return sorted(path.name for path in FOLDER.iterdir() if is_preset(path))


def is_preset(folder: Path) -> bool:
    """Returns whether a folder is that of a preset, maybe a damaged one."""
    return (folder / MANIFEST).is_file() or (folder / WEIGHTS).is_file()


def folder_of(name: str) -> Path:
    """Returns the folder of a preset. Raises: UserError if there is none of that name."""
    known = names()
    if name not in known:
        hint = "" if known else "This installation has no presets; train a model instead"
        raise unknown_name("preset", name, known, hint)
    return FOLDER / name


def located(path: Path) -> Path | None:
    """Returns the folder of the preset that `path` is: a folder, or a name. None for others."""
    path = path.expanduser()
    if is_preset(path):
        return path
    is_name = len(path.parts) == 1 and not path.exists()
    return FOLDER / path if is_name and path.name in names() else None


def read_manifest(folder: Path) -> Preset:
    """Reads `preset.json`.

    Raises:
        UserError: If it is missing, damaged, or of a newer version of magenta_lite.
    """
    path = folder / MANIFEST
    try:
        tree = json.loads(path.read_text("utf-8"))
        if isinstance(tree, dict) and type(tree.get("format")) is int and tree["format"] > FORMAT:
            raise UserError(
                f"Preset {folder} has format {tree['format']}, and this version of magenta_lite "
                f"reads formats up to {FORMAT}: install a newer version"
            )
        return Preset(**tree)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {AGAIN}") from error
    except UserError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({first_line(error):.100}); {AGAIN}") from error


def checked(folder: Path) -> Preset:
    """Returns `read_manifest` of a preset after checking all its files.

    Raises:
        UserError: As of `read_manifest`, or if a file is missing or damaged.
    """
    preset = read_manifest(folder)
    for name in filter(None, (*CHECKED, preset.example)):
        path = folder / name
        try:
            found = digest(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); {AGAIN}") from error
        if found != preset.sha256.get(name):
            raise UserError(f"{path} is damaged: its SHA-256 is not that of {MANIFEST}; {AGAIN}")
    return preset


def config_of(path: Path) -> ExperimentConfig:
    """Returns the config of a run directory, or of a preset, whose files are checked.

    Raises:
        UserError: If `path` is neither, or a damaged preset.
    """
    folder = located(path)
    if folder:
        checked(folder)
    return load_config((folder or path.expanduser()) / CONFIG)


def try_flags(folder: Path, preset: Preset) -> list[str]:
    """Returns the flags of `generate` with which to try a preset."""
    return [flag.replace("{example}", str(folder / preset.example)) for flag in preset.flags]


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(folder: Path) -> int:
    """Returns the bytes of all files in the folder of a preset."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def as_json(preset: Preset) -> dict[str, Any]:
    """Returns the content of `preset.json`."""
    return dataclasses.asdict(preset)
