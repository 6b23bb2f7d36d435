"""What `import magenta_lite as ml` offers. TensorFlow is loaded by the functions that need it."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magenta_lite.config import ExperimentConfig, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.audio import Audio
from magenta_lite.errors import UserError

if TYPE_CHECKING:
    import matplotlib.figure
    import tensorflow as tf

    from magenta_lite.modeling.music_model import MusicModel
    from magenta_lite.training.run import Run

__all__ = [
    "Audio",
    "UserError",
    "as_run",
    "build_converter",
    "build_model",
    "dataset",
    "get_config",
    "load",
    "piano_roll",
    "read",
    "read_all",
    "show",
    "synthesize",
    "write",
]

MIDI = (".mid", ".midi")
PICTURE = (".png",)


# Models -------------------------------------------------------------------------------------------


def load(path: str | os.PathLike, checkpoint: str = "best") -> Run:
    """Returns the trained model of a run directory, with its config and its converter.

    Args:
        path: The run directory.
        checkpoint: `best` by its validations, `newest`, or a step.

    Raises:
        UserError: If `path` is no run directory or has no such checkpoint.
    """
    from magenta_lite.training.run import load_run

    return load_run(Path(path), checkpoint)


def build_model(config: ExperimentConfig) -> MusicModel:
    """Returns the untrained model that a config describes.

    Raises:
        UserError: If the sections of the config do not go together.
    """
    from magenta_lite.families import building

    return building.build_model(config, build_converter(config.converter), config.train.precision)


def as_run(config: ExperimentConfig, model: MusicModel) -> Run:
    """Returns a model that you trained yourself with what belongs to it, to generate and to save.

    Args:
        config: That the model was built from.
        model: The model.
    """
    from magenta_lite.training.run import Run

    return Run(config, build_converter(config.converter), model)


def dataset(
    config: ExperimentConfig,
    split: str = "train",
    batch_size: int | None = None,
    data_dir: str | None = None,
) -> tf.data.Dataset:
    """Returns batches of the music that a config names, which is read and encoded at first.

    Args:
        config: Its sections `data` and `converter` say what is read and how.
        split: `train`, `validation` or `test`.
        batch_size: Examples of a batch; None for `train.batch_size`.
        data_dir: Folder of built data sets; None for `~/tensorflow_datasets`.

    Returns:
        Dicts of tensors, as the models read them. The training split is shuffled, transposed and
        without end, so that `fit` needs `steps_per_epoch`; the others are read once, in order,
        without examples that fill no batch.

    Raises:
        UserError: If there is no such music, or the split has fewer examples than a batch.
    """
    from magenta_lite.data.pipeline import batches_for
    from magenta_lite.datasets import open_data

    examples = open_data(config, data_dir).split(split)
    size, count = batch_size or config.train.batch_size, len(examples.lengths)
    training = split == "train"
    if count < size and not training:
        raise UserError(
            f"{config.data.source} has {count} {split} examples; give a batch_size up to that"
        )
    batches = batches_for(
        build_converter(config.converter),
        examples,
        batch_size=size,
        seed=config.train.seed,
        transpose=config.data.transpose if training else (0, 0),
        shuffle=training,
    ).dataset()
    return batches if training else batches.take(count // size)


# Music --------------------------------------------------------------------------------------------


def read(path: str | os.PathLike) -> Any:
    """Returns the piece in a file: a NoteSequence, or an `Audio` from a file of sound.

    Args:
        path: MIDI, ABC, MusicXML, a TFRecord of NoteSequences, or WAV, FLAC, OGG, MP3, AIFF.

    Raises:
        UserError: If the file cannot be read, or holds several pieces; `read_all` returns them.
    """
    pieces = read_all(path)
    if len(pieces) != 1:
        raise UserError(f"{path} holds {len(pieces)} pieces; read_all returns a list of them")
    return pieces[0]


def read_all(path: str | os.PathLike) -> list[Any]:
    """Returns all pieces in a file; see `read`."""
    from magenta_lite.data import audio, listing

    path = Path(path).expanduser()
    if not audio.is_sound(path):
        return [piece.sequence for piece in listing.read_file(path)]
    return [audio.read_audio(path, channels=None)]


def write(piece: Any, path: str | os.PathLike) -> Path:
    """Writes a piece as the suffix of the path says, and returns the path.

    Args:
        piece: A NoteSequence or an `Audio`.
        path: `.mid` for the notes, `.wav` for the sound, `.png` for a picture.

    Raises:
        UserError: If the suffix is another one, or MIDI is asked for of a sound.
    """
    from magenta_lite import plots
    from magenta_lite.data.audio import write_audio
    from magenta_lite.files import replaced
    from magenta_lite.midi import midi_bytes

    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix == ".wav":
        return write_audio(path, piece if isinstance(piece, Audio) else synthesize(piece))
    if suffix in MIDI and not isinstance(piece, Audio):
        content = midi_bytes(piece, path.stem)
    elif suffix in PICTURE:
        content = plots.png_bytes(piano_roll(piece, path.stem))
    else:
        known = "sound as .wav or .png" if isinstance(piece, Audio) else "notes as .mid, .wav, .png"
        raise UserError(f"{path} ends in none of the known suffixes; write {known}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        partial.write_bytes(content)
    return path


def synthesize(sequence: Any, soundfont: str = "") -> Audio:
    """Returns the sound of a NoteSequence, with a peak of 0.9.

    Args:
        sequence: The NoteSequence.
        soundfont: SoundFont 2 file; empty for that of `MAGENTA_LITE_SOUNDFONT`, or pretty_midi's.

    Raises:
        UserError: If the soundfont cannot be read.
    """
    from magenta_lite.outputs import played
    from magenta_lite.soundfont import open_soundfont

    return played(sequence, open_soundfont(soundfont))


def piano_roll(piece: Any, title: str = "") -> matplotlib.figure.Figure:
    """Returns a figure of the notes of a NoteSequence; of an `Audio` its wave and spectrogram."""
    from magenta_lite import plots

    if isinstance(piece, Audio):
        return plots.sounds([piece], [title])
    return plots.piano_roll(piece, title)


def show(piece: Any) -> Shown:
    """Returns what a notebook shows as a picture and a player of a NoteSequence or an `Audio`."""
    return Shown(piece)


class Shown:
    """A piece as a notebook shows it.

    Args:
        piece: A NoteSequence or an `Audio`.
    """

    def __init__(self, piece: Any):
        self.piece = piece

    def _repr_html_(self) -> str:
        import soundfile

        from magenta_lite import plots

        audio = self.piece if isinstance(self.piece, Audio) else synthesize(self.piece)
        wav = io.BytesIO()
        soundfile.write(wav, audio.samples, audio.sample_rate, format="WAV", subtype="PCM_16")
        picture = _data_url("image/png", plots.png_bytes(piano_roll(self.piece)))
        sound = _data_url("audio/wav", wav.getvalue())
        return f'<img src="{picture}"><br><audio controls src="{sound}"></audio>'


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
