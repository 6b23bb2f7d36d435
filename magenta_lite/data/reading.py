"""Music files as NoteSequences: MIDI, ABC, MusicXML, NoteSequence TFRecords, archives, Doom WADs,
lists of MuseNet's tokens.

A file that cannot be used costs nothing but itself: `read_source` counts it with its reason.
"""

from __future__ import annotations

import bisect
import contextlib
import csv
import dataclasses
import functools
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from magenta_lite.data import abc
from magenta_lite.encoders.base import Report
from magenta_lite.errors import UserError

SPLITS = ("train", "validation", "test")
MAX_BYTES = 64 * 2**20  # a MIDI file this large is not one
MAX_NOTES = 200_000
MAX_NOTE_SECONDS = 600.0
MAX_PIECE_SECONDS = 3 * 3600.0

STYLES = "styles.csv"  # in a folder of music: name of a file below it, style

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class UnreadableError(ValueError):
    """A file or tune that cannot be used; the message is the reason."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, a member of a zip archive, or a whole tar archive.

    A subclass may find its bytes elsewhere (`read_bytes`) or make its pieces otherwise (`read`).

    Attributes:
        path: Where the file is.
        name: Its path below the folder that was asked for; stays the same when the folder moves.
        member: Name inside a zip archive.
        split: `train`, `validation` or `test` where a data set says so; empty: by its name.
        style: Of its music, where a list of styles says so.
    """

    path: str
    name: str
    member: str = ""
    split: str = ""
    style: str = ""

    def read(self) -> tuple[list[Piece], Report]:
        """Returns its pieces and a report of what cannot be used; see `read_source`."""
        return read_source(self)

    def read_as(self, encoder_config: Any) -> tuple[list[Piece], Report]:
        """Returns its pieces as an encoder wants them, and a report. Notes are always the same."""
        return self.read()

    def read_bytes(self) -> bytes:
        """Returns the bytes of the file. Raises: UnreadableError, OSError."""
        return _read_zip_member(self) if self.member else _read_path(self.path)


@dataclasses.dataclass
class Piece:
    """One piece of music.

    Attributes:
        name: Of its source, with `#X:12` for a tune of a book or `#3` for a record.
        sequence: Its NoteSequence; of sound its `Audio`.
        split: As that of a `Source`.
        facts: What else is known of it and kept beside its examples, as plain JSON values.
    """

    name: str
    sequence: Any
    split: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def list_sources(root: str | Path) -> tuple[list[Source], Report]:
    """Finds the music below a folder, or in one file or archive.

    Args:
        root: A folder, searched with all below it, or a file.

    Returns:
        The sources in order of their names, and a report of what is no music. A folder whose music
        lies in folders `train` and `validation` or `test` is split so. Where it holds a
        `styles.csv`, rows of a name and a style, those files have that style.

    Raises:
        UserError: If `root` does not exist, holds sound and no notes, or its list of styles cannot
            be read.
    """
    from magenta_lite.data import audio  # which needs this module

    root = Path(root).expanduser()
    if not root.exists():
        raise UserError(f"There is no file or folder {root}")
    report = Report()
    sources: list[Source] = []
    sounds = 0
    for path in [root] if root.is_file() else walk(root):
        name = path.name if path == root else path.relative_to(root).as_posix()
        if name == STYLES:
            continue
        if path.name.lower().endswith(".zip"):
            sources += _zip_members(path, name, report)
        elif path.name.lower().endswith(".wad"):
            from magenta_lite.data import wad  # which needs this module

            sources += wad.songs_of(path, name, report)
        elif _is_music(path, root) or path.name.lower().endswith(ARCHIVES):
            sources.append(Source(str(path), name))
        else:
            sounds += audio.is_sound(path)
            report.drop("not a music file", name)
    if sounds and not sources:
        raise UserError(
            f"{root} holds sound but no notes, and notes are wanted here; give MIDI, ABC or "
            "MusicXML files, or choose a configuration that reads sound"
        )
    sources = _with_styles(sources, root / STYLES, report)
    return sorted(split_by_folder(sources), key=lambda source: source.name), report


def _with_styles(sources: list[Source], table: Path, report: Report) -> list[Source]:
    """Gives sources the styles that a table says they have."""
    if not table.is_file():
        return sources
    rows = read_table(table, "list of files and styles")
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise UserError(f"Row {number} of {table} must be a file and its style: {row}")
    styles = {name.strip(): style.strip() for name, style in rows}
    for name in sorted(styles.keys() - {source.name for source in sources}):
        report.drop(f"style in {STYLES} of what is not there", name)
    return [dataclasses.replace(source, style=styles.get(source.name, "")) for source in sources]


def read_table(path: Path, what: str) -> list[list[str]]:
    """Returns the rows of a comma-separated file that hold anything.

    Raises:
        UserError: If it is no such file; `what` says what it should be.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no {what}: {first_line(error)}") from error


def is_music(path: Path) -> bool:
    """Returns whether the name of a file is that of one with notes."""
    return _kind(path.name) not in (None, "tokens")


def _is_music(path: Path, root: Path) -> bool:
    """Returns whether a file is read; text is a list of tokens only where it was asked for."""
    kind = _kind(path.name)
    return kind is not None and (kind != "tokens" or path == root)


def split_by_folder(sources: list[Any]) -> list[Any]:
    """Gives sources the split whose folder they are in, if all are in such folders."""
    folders = [source.name.partition("/")[0] for source in sources]
    if "train" not in folders or len(set(folders)) < 2 or not set(folders) <= set(SPLITS):
        return sources
    pairs = zip(sources, folders, strict=True)
    return [dataclasses.replace(source, split=folder) for source, folder in pairs]


def walk(root: Path) -> Iterator[Path]:
    """Yields the files below a folder, in order, but for hidden ones."""
    for folder, folders, files in os.walk(root):  # does not follow links, so it ends
        folders.sort()
        for file in sorted(files):
            if not file.startswith("."):
                yield Path(folder) / file


def _zip_members(path: Path, name: str, report: Report) -> list[Source]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        report.drop(f"zip archive cannot be read: {first_line(error)}", name)
        return []
    music = [member for member in members if _kind(member) not in (None, "tokens")]
    report.drop("not a music file", name, n=len(members) - len(music))
    return [Source(str(path), f"{name}/{member}", member) for member in music]


def read_source(source: Source) -> tuple[list[Piece], Report]:
    """Reads all pieces of a source.

    Never raises for what is in a file: a file or tune that cannot be used is counted in the
    report under its reason.
    """
    report = Report()
    pieces: list[Piece] = []
    for name, read in _files_in(source, report):
        try:
            for piece in _pieces_of(name, read(), report):
                _check(piece.sequence)
                if source.style:
                    piece.sequence.sequence_metadata.genre.insert(0, source.style)
                pieces.append(dataclasses.replace(piece, split=source.split))
        except (UnreadableError, OSError) as error:
            report.drop(first_line(error), name)
    if pieces:
        report.keep("pieces", len(pieces))
    return pieces, report


def read_file(path: str | Path) -> list[Piece]:
    """Reads a file that a user named.

    Raises:
        UserError: If it does not exist or holds no usable piece; says why.
    """
    sources, report = list_sources(path)
    pieces: list[Piece] = []
    for source in sources:
        found, more = read_source(source)
        pieces += found
        report.merge(more)
    if not pieces:
        reasons = "; ".join(report.dropped) or "nothing in it"
        raise UserError(f"{path} holds no music that can be read: {reasons}")
    return pieces


def _files_in(source: Source, report: Report) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yields name and reader of each file that a source stands for."""
    if source.member or not source.path.lower().endswith(ARCHIVES):
        yield source.name, source.read_bytes
    else:
        try:
            with tarfile.open(source.path) as archive:
                for member in archive:
                    if member.isfile() and _kind(member.name) not in (None, "tokens"):
                        yield f"{source.name}/{member.name}", _tar_reader(archive, member)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            report.drop(f"tar archive cannot be read: {first_line(error)}", source.name)


def _tar_reader(archive, member) -> Callable[[], bytes]:
    def read() -> bytes:
        _check_size(member.size)
        return archive.extractfile(member).read()

    return read


def _read_path(path: str) -> bytes:
    _check_size(os.path.getsize(path))
    return Path(path).read_bytes()


def _read_zip_member(source: Source) -> bytes:
    try:
        stat = os.stat(source.path)
        archive = _open_zip(source.path, stat.st_size, stat.st_mtime_ns)
        _check_size(archive.getinfo(source.member).file_size)
        return archive.read(source.member)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        raise UnreadableError(f"zip archive cannot be read: {first_line(error)}") from error


@functools.lru_cache(maxsize=2)
def _open_zip(path: str, size: int, mtime: int) -> zipfile.ZipFile:
    """Stays open: reading the directory of an archive for each member would take for ever."""
    return zipfile.ZipFile(path)


def _check_size(size: int) -> None:
    if size == 0:
        raise UnreadableError("the file is empty")
    if size > MAX_BYTES:
        raise UnreadableError(f"larger than {MAX_BYTES // 2**20} MB")


def _pieces_of(name: str, data: bytes, report: Report) -> Iterator[Piece]:
    """Yields the pieces in a file's bytes; those of a book that cannot be read are counted."""
    kind = _kind(name)
    if kind == "midi":
        yield Piece(name, midi_to_sequence(data))
    elif kind == "abc":
        yield from _abc_pieces(name, data, report)
    elif kind == "musicxml":
        yield Piece(name, _musicxml_to_sequence(name, data))
    elif kind == "tokens":
        yield Piece(name, _tokens_to_sequence(data))
    else:
        for i, sequence in enumerate(_records(data)):
            try:
                _check(sequence)
            except UnreadableError as error:
                report.drop(first_line(error), f"{name}#{i}")
                continue
            yield Piece(f"{name}#{i}", sequence)


_KINDS = {
    ".mid": "midi",
    ".midi": "midi",
    ".kar": "midi",
    ".abc": "abc",
    ".xml": "musicxml",
    ".musicxml": "musicxml",
    ".mxl": "musicxml",
    ".tfrecord": "tfrecord",
    ".txt": "tokens",
}


def _kind(name: str) -> str | None:
    return _KINDS.get(Path(name).suffix.lower())


def _check(sequence) -> None:
    """Raises UnreadableError if a NoteSequence cannot be music."""
    notes = sequence.notes
    if not notes:
        raise UnreadableError("no notes")
    if len(notes) > MAX_NOTES:
        raise UnreadableError(f"more than {MAX_NOTES:,} notes")
    if min(note.start_time for note in notes) < 0:
        raise UnreadableError("a note starts before time 0")
    if max(note.end_time - note.start_time for note in notes) > MAX_NOTE_SECONDS:
        raise UnreadableError(f"a note is held for more than {MAX_NOTE_SECONDS / 60:g} minutes")
    if max(note.end_time for note in notes) > MAX_PIECE_SECONDS:
        raise UnreadableError(f"longer than {MAX_PIECE_SECONDS / 3600:g} hours")


# Formats -----------------------------------------------------------------------------------


def midi_to_sequence(data: bytes):
    """Returns the NoteSequence of a MIDI file's bytes, as note_seq itself would read it.

    symusic reads MIDI several hundred times as fast as note_seq, and reads files that others
    lose whole for one bad event. Notes of no length, which note_seq leaves out, stay: some files
    write all their drum hits so.

    Raises:
        UnreadableError: If the bytes are no MIDI.
    """
    import symusic

    if not data.startswith(b"MThd"):
        raise UnreadableError("not a MIDI file")
    try:
        score = symusic.Score.from_midi(data)
    except (RuntimeError, ValueError) as error:
        raise UnreadableError(f"damaged MIDI file: {first_line(error)}") from error
    return _score_to_sequence(score)


def _score_to_sequence(score):
    from note_seq.protobuf import music_pb2

    seconds = _clock(score)

    sequence = music_pb2.NoteSequence(ticks_per_quarter=score.ticks_per_quarter)
    sequence.source_info.parser = music_pb2.NoteSequence.SourceInfo.PRETTY_MIDI
    sequence.source_info.encoding_type = music_pb2.NoteSequence.SourceInfo.MIDI
    for meter in score.time_signatures:
        if meter.denominator > 0:
            sequence.time_signatures.add(
                time=seconds(meter.time), numerator=meter.numerator, denominator=meter.denominator
            )
    for tempo in score.tempos:
        sequence.tempos.add(time=seconds(tempo.time), qpm=60e6 / tempo.mspq)
    for instrument, track in enumerate(score.tracks):
        if track.name:
            sequence.instrument_infos.add(instrument=instrument, name=track.name)
        for note in track.notes:
            sequence.notes.add(
                pitch=note.pitch,
                velocity=note.velocity,
                start_time=seconds(note.time),
                end_time=seconds(note.time + note.duration),
                instrument=instrument,
                program=track.program,
                is_drum=track.is_drum,
            )
        for change in track.controls:
            sequence.control_changes.add(
                time=seconds(change.time),
                control_number=change.number,
                control_value=change.value,
                instrument=instrument,
                program=track.program,
                is_drum=track.is_drum,
            )
    sequence.total_time = max((note.end_time for note in sequence.notes), default=0.0)
    return sequence


def _clock(score) -> Callable[[int], float]:
    """Returns the function from ticks to seconds. (symusic's own counts in single precision.)"""
    ticks, times, rates = [0], [0.0], [0.5 / score.ticks_per_quarter]  # 120 quarters a minute
    for tempo in score.tempos:
        times.append(times[-1] + (tempo.time - ticks[-1]) * rates[-1])
        ticks.append(tempo.time)
        rates.append(tempo.mspq / 1e6 / score.ticks_per_quarter)

    def seconds(tick: int) -> float:
        i = bisect.bisect_right(ticks, tick) - 1
        return times[i] + (tick - ticks[i]) * rates[i]

    return seconds


def _abc_pieces(name: str, data: bytes, report: Report) -> Iterator[Piece]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    tunes = abc.split_tunes(text)
    if not tunes:
        raise UnreadableError("no tune in the book: no line starts with X:")
    for number, tune in tunes:
        place = f"{name}#X:{number}"
        try:
            yield Piece(place, abc.read_tune(tune))
        except abc.AbcError as error:
            report.drop(f"ABC tune: {error}", place)


def _musicxml_to_sequence(name: str, data: bytes):
    from note_seq import musicxml_parser, musicxml_reader

    with _as_file(name, data) as path:
        try:
            return _parts_apart(musicxml_reader.musicxml_file_to_sequence_proto(path))
        except (
            musicxml_reader.MusicXMLConversionError,
            musicxml_parser.MusicXMLParseError,
            zipfile.BadZipFile,
            KeyError,
            ValueError,
        ) as error:
            raise UnreadableError(f"MusicXML: {first_line(error)}") from error


def _tokens_to_sequence(data: bytes):
    """Returns the NoteSequence of a list of MuseNet's tokens, as ids or as texts."""
    from magenta_lite.encoders.musenet import codec, vocabulary
    from magenta_lite.encoders.musenet.encoder import to_sequence

    try:
        ids = vocabulary.read_ids(data.decode("utf-8-sig"))
    except (UserError, UnicodeDecodeError) as error:
        raise UnreadableError(f"text that is no list of tokens: {first_line(error)}") from error
    return to_sequence(codec.decode(ids).notes)


def _parts_apart(sequence: Any) -> Any:
    """Returns `sequence` with an instrument for each part, where parts of a score share one.

    Scores need not state MIDI channels; then all their parts come as the same instrument.
    """
    instruments = {}
    for note in sequence.notes:
        instruments.setdefault(note.instrument, set()).add(note.part)
    if any(len(parts) > 1 for parts in instruments.values()):
        for note in sequence.notes:
            note.instrument = note.part
    return sequence


def _records(data: bytes) -> Iterator:
    """Yields the NoteSequences of a TFRecord file."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from note_seq.protobuf import music_pb2

    with _as_file("records.tfrecord", data) as path:
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                yield music_pb2.NoteSequence.FromString(record)
        except tf.errors.DataLossError as error:
            raise UnreadableError("damaged or truncated TFRecord") from error
        except DecodeError as error:
            raise UnreadableError("a record is not a NoteSequence") from error


@contextlib.contextmanager
def _as_file(name: str, data: bytes) -> Iterator[str]:
    """Gives the path of a temporary file with these bytes and the suffix of `name`."""
    with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
        file.write(data)
        file.flush()
        yield file.name


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
