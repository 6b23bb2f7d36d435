"""The public API of `import magenta_lite as ml`. Functions import TensorFlow when they need it."""

from __future__ import annotations

import base64
import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magenta_lite import presets
from magenta_lite.config import ExperimentConfig, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.audio import Audio
from magenta_lite.errors import UserError
from magenta_lite.families import FAMILIES
from magenta_lite.modeling.family import Facts

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
    """Returns the trained model of a run directory or a preset, with its config and converter.

    Args:
        path: A run directory, or the name of a preset (`python -m magenta_lite.presets` lists
            them).
        checkpoint: `best` (by validation), `newest`, or a step.

    Raises:
        UserError: If `path` is neither or has no such checkpoint, or the preset is damaged.
    """
    from magenta_lite.training.run import load_run

    return load_run(Path(path), checkpoint)


def build_model(config: ExperimentConfig) -> MusicModel:
    """Returns the untrained model of a config.

    A Jukebox prior gets the codebook size and the rates of its VQ-VAE, `converter.vqvae`. With
    `train.precision=auto` the model computes in float32: only `train` measures what is faster.

    Raises:
        UserError: If the sections of the config are incompatible.
    """
    from magenta_lite.families import building

    config = _completed(config)
    precision = config.train.precision
    policy = "float32" if precision == "auto" else precision
    return building.build_model(config, build_converter(config.converter), policy)


def as_run(config: ExperimentConfig, model: MusicModel, data_dir: str | None = None) -> Run:
    """Returns a run for a model that you trained yourself, to generate with it and to save it.

    Args:
        config: The config that the model was built from.
        model: The model.
        data_dir: Folder of built data sets, from which a Jukebox prior gets the names of its
            artists and genres; None for `~/tensorflow_datasets`.
    """
    from magenta_lite.datasets import built_facts
    from magenta_lite.training.run import Run

    config = _completed(config, functools.partial(built_facts, data_dir=data_dir))
    return Run(config, build_converter(config.converter), model)


def _completed(
    config: ExperimentConfig, facts: Callable[..., Facts] = lambda *_: {}
) -> ExperimentConfig:
    """Returns the config, completed from the run that encodes its data, if it names one.

    `facts` returns the metadata of the pieces of a data section in an encoding.
    """
    encoded = FAMILIES[config.family].encoded_data
    path = encoded and encoded.run_dir(config)
    if not encoded or not path:
        return config
    encoder = presets.config_of(path)
    return encoded.completed(config, encoder, lambda data: facts(data, encoder.converter))


def dataset(
    config: ExperimentConfig,
    split: str = "train",
    batch_size: int | None = None,
    data_dir: str | None = None,
) -> tf.data.Dataset:
    """Returns the batches of a config's data, which are read and encoded on first use.

    Args:
        config: Its sections `data` and `converter` define the source and the encoding.
        split: `train`, `validation` or `test`.
        batch_size: Batch size; None for `train.batch_size`.
        data_dir: Folder of built data sets; None for `~/tensorflow_datasets`.

    Returns:
        A data set of dicts of tensors, the inputs of the models. The training split is shuffled,
        transposed and infinite, so that `fit` needs `steps_per_epoch`; the others are read once,
        in order, without a last incomplete batch.

    Raises:
        UserError: If there are no such data, or the split has fewer examples than a batch.
    """
    from magenta_lite.data.pipeline import batches_for
    from magenta_lite.datasets import completed, open_data
    from magenta_lite.training.run import load_encoder

    encoder = load_encoder(config)
    config = completed(config, encoder, data_dir)
    examples = open_data(config, encoder, data_dir).split(split)
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
    """Reads the piece in a file as a NoteSequence, or as an `Audio` from a sound file.

    Formats are MIDI, ABC, MusicXML, TFRecords of NoteSequences, and WAV, FLAC, OGG, MP3, AIFF.

    Raises:
        UserError: If the file cannot be read, or has several pieces (see `read_all`).
    """
    pieces = read_all(path)
    if len(pieces) != 1:
        raise UserError(f"{path} holds {len(pieces)} pieces; read_all returns a list of them")
    return pieces[0]


def read_all(path: str | os.PathLike) -> list[Any]:
    """Reads all pieces in a file; see `read`."""
    from magenta_lite.data import audio, listing

    path = Path(path).expanduser()
    if not audio.is_sound(path):
        return [piece.sequence for piece in listing.read_file(path)]
    return [audio.read_audio(path, channels=None)]


def write(piece: Any, path: str | os.PathLike) -> Path:
    """Writes a piece in the format of the path's suffix, and returns the path.

    Args:
        piece: A NoteSequence or an `Audio`.
        path: `.mid` for the notes, `.wav` for the sound, `.png` for a picture.

    Raises:
        UserError: If the suffix is another one, or `.mid` for an `Audio`.
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
    """Returns the sound of a NoteSequence at -13 LUFS, with peaks of at most -1 dB.

    `soundfont` is a SoundFont 2 file; empty for `MAGENTA_LITE_SOUNDFONT`, or pretty_midi's.

    Raises:
        UserError: If the soundfont cannot be read.
    """
    from magenta_lite.outputs import played
    from magenta_lite.soundfont import open_soundfont

    return played(sequence, open_soundfont(soundfont))


def piano_roll(piece: Any, title: str = "") -> matplotlib.figure.Figure:
    """Returns a figure: a piano roll of notes, or the waveform and spectrogram of an `Audio`."""
    from magenta_lite import plots

    if isinstance(piece, Audio):
        return plots.sounds([piece], [title])
    return plots.piano_roll(piece, title)


def show(piece: Any) -> Shown:
    """Returns a wrapper of a piece that notebooks show as a picture and an audio player."""
    return Shown(piece)


class Shown:
    """A NoteSequence or an `Audio` with an HTML representation for notebooks."""

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
