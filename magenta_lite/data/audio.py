"""Listing, reading and writing of sound files.

A file that cannot be used is counted in the report with its reason; the others are still read.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.audio import Audio, to_int16
from magenta_lite.converters.base import Report
from magenta_lite.data import archives, formats, labels, reading
from magenta_lite.data.folders import name_in, split_by_folder, walk
from magenta_lite.data.formats import UnreadableError
from magenta_lite.data.labels import Labels
from magenta_lite.data.reading import Piece
from magenta_lite.data.workers import Limits
from magenta_lite.errors import UserError
from magenta_lite.files import replaced

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
# Sound formats that libsndfile does not read.
OTHER_SUFFIXES = (".m4a", ".aac", ".mp4", ".wma", ".webm", ".ape", ".wv")
PACKED = "archive; sound is read from folders only, so unpack it"
OTHER = "sound that is not WAV, FLAC, OGG, Opus, MP3 or AIFF; convert it, e.g. with ffmpeg"

# Format and subtype by suffix.
WRITTEN = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}

MIN_RATE = 1000  # Hz; a small file of a lower one would be many samples at the converter's rate
BLOCK = 2**18  # samples per channel that are read or written at once
# Headers may state slightly more samples than there are: an MP3 counts whole frames.
MISSING_SHARE = 0.02
# WAV files written to a pipe state the largest possible size, because the real one is unknown.
UNKNOWN_SIZE = 2**31 - 2**16


@dataclasses.dataclass(frozen=True)
class AudioSource(reading.Source):
    """A sound file.

    Attributes:
        labels: Labels of the file.
    """

    labels: Labels = dataclasses.field(default_factory=Labels)

    LIMITS: ClassVar[Limits] = Limits(seconds=900, megabytes=16_384)  # for three hours of stereo

    def read_as(self, converter_config: Any) -> tuple[list[Piece], Report]:
        """Returns its sound with a converter's sample rate and channels, and a report."""
        report = Report()
        if self.path.lower().endswith(OTHER_SUFFIXES):
            report.drop(OTHER, self.name)
            return [], report
        try:
            audio = read_file(self.path, converter_config.sample_rate, converter_config.channels)
        except (UnreadableError, OSError) as error:
            report.drop(reading.reason_of(error), self.name)
            return [], report
        report.keep("pieces")
        return [Piece(self.name, audio, self.split, facts(audio, self.labels))], report


def facts(audio: Audio, labels: Labels, **more: Any) -> dict[str, Any]:
    """Returns the metadata of a piece: its labels, its length in samples, and `more`."""
    return dataclasses.asdict(labels) | {"samples": len(audio.samples)} | more


def is_sound(path: Path) -> bool:
    """Returns whether a file has the suffix of a sound file."""
    return path.suffix.lower() in SUFFIXES + OTHER_SUFFIXES


def list_sounds(root: str | Path) -> tuple[list[AudioSource], Report]:
    """Lists the sound files below a folder, or one file, with their labels.

    Args:
        root: A folder, which is searched recursively, or a file.

    Returns:
        The sources sorted by name, and a report of the files that are not sound. Folders named
        `train`, `validation` and `test` define the splits. For labels see `labels.read_labels`.

    Raises:
        UserError: If `root` does not exist, holds notes and no sound, or its table of labels
            cannot be read.
    """
    root = Path(root).expanduser()
    if not root.exists():
        raise UserError(f"There is no file or folder {root}")
    report, sources, others = Report(), [], []
    for path in [root] if root.is_file() else walk(root, report):
        name = name_in(root, path)
        if is_sound(path):
            sources.append(AudioSource(str(path), name))
        else:
            others.append((path, name))
    known = labels.read_labels(root, {source.name: source.path for source in sources}, report)
    # Without this error, a folder of notes would give a long list of files that are not sound.
    if not sources and any(formats.is_music(path.name) for path, _ in others):
        raise UserError(
            f"{root} holds notes (MIDI or the like) but no sound, and this configuration reads "
            "sound; give a folder of WAV, FLAC, OGG or MP3 files, or --data=rendered_audio"
        )
    for _, name in others:
        if name not in known.files:
            packed = archives.is_archive(name) or archives.is_other_archive(name)
            report.drop(PACKED if packed else "not a sound file", name)
    sources = [dataclasses.replace(s, labels=known.of.get(s.name, Labels())) for s in sources]
    return sorted(split_by_folder(sources), key=lambda source: source.name), report


def read_audio(path: str | Path, sample_rate: int | None = None, channels: int | None = 1) -> Audio:
    """Reads a sound file that a user named.

    Args:
        path: WAV, FLAC, OGG, Opus, MP3 or AIFF.
        sample_rate: Hz, to which the sound is resampled; None for the file's own rate.
        channels: 1 for the mean of all channels; 2 for stereo; None for the file's own channels.

    Raises:
        UserError: If it does not exist or cannot be read; the message has the reason.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"There is no sound file {path}")
    try:
        if path.suffix.lower() in OTHER_SUFFIXES:
            raise UnreadableError(OTHER)
        return read_file(path, sample_rate, channels)
    except (UnreadableError, OSError) as error:
        raise UserError(f"{path} cannot be read: {reading.reason_of(error)}") from error


def write_audio(path: str | Path, audio: Audio) -> Path:
    """Writes sound, clipped to [-1, 1], as `.wav`, `.flac` (16 bits) or `.ogg` by the suffix.

    The file is written under another name and then renamed, so that it is never incomplete.
    Samples that are NaN or infinite are written as 0, with a warning on standard error.

    Returns:
        The path.

    Raises:
        UserError: If the suffix is another one, or the file cannot be written.
    """
    import soundfile

    path = Path(path).expanduser()
    if path.suffix.lower() not in WRITTEN:
        raise UserError(f"{path} cannot be written; its suffix must be {', '.join(WRITTEN)}")
    format, subtype = WRITTEN[path.suffix.lower()]
    details: dict[str, Any] = {"subtype": subtype, "format": format}
    wrong = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replaced(path) as partial,
            soundfile.SoundFile(partial, "w", audio.sample_rate, audio.channels, **details) as file,
        ):
            for start in range(0, len(audio.samples), BLOCK):
                block = audio.samples[start : start + BLOCK]
                numbers = np.isfinite(block)
                wrong += block.size - np.count_nonzero(numbers)
                file.write(to_int16(np.where(numbers, block, 0))[0])
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{path} cannot be written: {reading.reason_of(error)}") from error
    if wrong:
        share = f"{wrong:,} of {audio.samples.size:,}"
        print(f"{path}: {share} samples are not finite; they are silent there", file=sys.stderr)
    return path


def read_file(path: str | Path, sample_rate: int | None, channels: int | None) -> Audio:
    """Reads a sound file block by block, so that only the result is held in memory.

    Args:
        path: The file.
        sample_rate: Sample rate of the result in Hz; None for the file's own.
        channels: Channels of the result, 1 or 2; None for the file's own.

    Raises:
        UnreadableError: If it cannot be used; the message is the reason.
        OSError: If it cannot be opened.
    """
    import soundfile

    if os.path.getsize(path) == 0:
        raise UnreadableError("the file is empty")
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate < MIN_RATE:
                raise UnreadableError(f"sample rate below {MIN_RATE:,} Hz")
            if file.frames > formats.MAX_PIECE_SECONDS * file.samplerate:
                raise UnreadableError(f"longer than {formats.MAX_PIECE_SECONDS / 3600:g} hours")
            rate, count = sample_rate or file.samplerate, channels or file.channels
            blocks = (_mixed(block, count) for block in _blocks(file))
            samples = _resampled(blocks, file.samplerate, rate, count, file.frames)
    except soundfile.LibsndfileError as error:
        # libsndfile reports an MP3 without any sound as a missing file.
        what = "no sound in it" if error.code == 7 else error.error_string
        raise UnreadableError(f"cannot be decoded: {what}") from error
    if not len(samples):
        raise UnreadableError("no sound in it")
    return Audio(samples, rate)


def _blocks(file: Any) -> Iterator[np.ndarray]:
    """Yields the samples of an open file, float32 (T, channels).

    Raises:
        UnreadableError: If there are fewer samples than the header states.
    """
    promised, read = file.frames, 0
    size = min(BLOCK, max(2 * BLOCK // file.channels, 1))  # a file can have 1,024 channels
    # libsndfile corrects wrong sizes silently; only its log mentions them.
    sizes = re.search(r"(?:data|SSND) *: (\d+) \(should be (\d+)\)", file.extra_info)
    if sizes and int(sizes[2]) < int(sizes[1]) < UNKNOWN_SIZE:
        raise UnreadableError("truncated: there is less sound than its header says")
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        read += len(block)
        yield block
    if read < (1 - MISSING_SHARE) * promised:
        raise UnreadableError("truncated: there is less sound than its header says")


def _mixed(block: np.ndarray, channels: int) -> np.ndarray:
    """Converts samples (T, C) to (T, channels)."""
    if block.shape[1] == channels:
        return block
    if channels == 1:
        return block.mean(axis=1, keepdims=True)
    if block.shape[1] == 1:
        return block.repeat(channels, axis=1)
    raise UnreadableError(f"{block.shape[1]} channels, and converter.channels={channels}")


def _resampled(
    blocks: Iterator[np.ndarray], rate: int, new_rate: int, channels: int, frames: int
) -> np.ndarray:
    """Resamples blocks of `frames` samples in all, as stated; returns float32 (T, channels)."""
    import soxr

    stream = soxr.ResampleStream(rate, new_rate, channels, dtype="float32")
    samples, count = np.empty((math.ceil(frames * new_rate / rate) + 1, channels), np.float32), 0
    for block in blocks:
        count, samples = _append(samples, count, stream.resample_chunk(block))
    end = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    count, samples = _append(samples, count, end)
    return samples[:count]


def _append(samples: np.ndarray, count: int, more: np.ndarray) -> tuple[int, np.ndarray]:
    """Writes `more` after the first `count` samples; grows the array if the header was too low."""
    end = count + len(more)
    if end > len(samples):
        samples = np.concatenate([samples, np.empty((end, samples.shape[1]), np.float32)])
    samples[count:end] = more
    return end, samples
