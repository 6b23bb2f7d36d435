"""From music files to the windows of each split: reads, encodes, splits, removes what repeats.

The TFDS builders, their Beam form and `inspect_data` share these steps. No TensorFlow.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import functools
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.data import reading
from magenta_lite.data.workers import Crash, WorkerPool
from magenta_lite.encoders import build_encoder
from magenta_lite.encoders.base import EncodeResult, EventFormat, Report
from magenta_lite.errors import UserError

SPLITS = reading.SPLITS
TEST_SHARE = 0.05
VALIDATION_SHARE = 0.05

LINE_EVERY = 5.0  # seconds between two lines of progress
ALONE_FOR = 2.0  # seconds of work before worker processes are worth their start


# Words of a reason in a report, and what keeps more of what it left out. A hint is given to
# encoders that have the settings it names.
FILL_UP = "--set encoder.pad_edges=true fills up what is short with silence"
HINTS = {
    "program outside": "--set encoder.programs=null reads the notes of every program",
    "(melody) and": (
        "encoder.melody_programs and encoder.bass_programs say which instruments are taken"
    ),
    "pitch outside": "--set encoder.min_pitch=0 --set encoder.max_pitch=127 reads every pitch",
    "outside the roland map": "--set encoder.pitch_map=reduced reads all General MIDI drums",
    "shorter than": FILL_UP,
    "short of a window": FILL_UP,
    "bar with fewer than": "--set encoder.pad_edges=true takes bars with little in them, too",
    "rest too long": "--set encoder.gap_bars=4 lets melody, bass and drums rest for longer",
    "instrument with notes that start together": (
        "--set encoder.skip_polyphony=false takes the highest of several notes"
    ),
    "segment of more than": (
        "--set encoder.max_tokens=4096 reads longer ones, --set encoder.max_seconds=10 cuts shorter"
    ),
    "windows in a piece": "--set encoder.max_examples=0 takes every window of a piece",
    "sound shorter than": "--set encoder.crop=4096 takes shorter sound, for a model of such clips",
    "no sample above": "--set encoder.silence=-90 takes quieter sound",
    "is not 4/4": "no setting; only music in 4/4 or 2/2 has bars that fit these windows",
}

# Settings, by kind of encoder, that change what a model sees of an example but not the example:
# collections that differ in these alone are one.
NOT_STORED = {
    "groove": (
        "humanize",
        "tapify",
        "fixed_velocities",
        "added_classes",
        "hits_as_controls",
        "max_note_dropout",
        "inference_pitch_map",
    ),
    "event_melody": ("encoding", "lookback_distances"),
    "melody_performance": ("max_silence", "max_hung_note"),
    "performance": ("max_silence", "max_hung_note"),
}


class Window(NamedTuple):
    """One stored example.

    Attributes:
        place: Numbers of source, piece and window: the stable order of a collection.
        piece: Name of the piece it comes from.
        events: The encoder's numbers, the bytes of an array (T, *event_shape) of its event_dtype.
        controls: The bytes of its chord classes uint8 (T,); empty without chords.
        split: Its split where the data set says so; empty: by a hash of `piece`.
        train_only: Whether it is left out where its split is not `train`.
        position: Its first step and the steps of the piece, where pieces are kept whole.
        key: What windows have in common of which one split alone keeps any: of a piece that is
            kept whole, a hash of all of it; empty: the `transposition_key`.
    """

    place: tuple[int, int, int]
    piece: str
    events: bytes
    controls: bytes = b""
    split: str = ""
    train_only: bool = False
    position: tuple[int, int] | None = None
    key: bytes = b""


class EncodedPiece(NamedTuple):
    """What one piece gave.

    Attributes:
        name: Of the piece.
        split: As in a `Window`.
        examples: Events, controls and `train_only`, as in a `Window`.
        positions: As in a `Window`; None where windows stand for themselves.
        facts: What is kept beside the examples, as plain JSON values.
    """

    name: str
    split: str
    examples: list[tuple[bytes, bytes, bool]]
    positions: list[tuple[int, int]] | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012


@dataclasses.dataclass
class Encoded:
    """What one source gave.

    Attributes:
        pieces: Those that gave any windows.
        report: What was kept and what was left out.
    """

    pieces: list[EncodedPiece]
    report: Report


@dataclasses.dataclass
class Windows:
    """The windows of a whole collection.

    Attributes:
        splits: Windows of `train`, `validation` and `test`, in stable order.
        report: What was kept and what was left out.
        facts: What else is known of pieces, by their names; of those that have any.
    """

    splits: dict[str, list[Window]]
    report: Report
    facts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of windows of each split."""
        return {name: len(windows) for name, windows in self.splits.items()}


def say(text: str) -> None:
    """Prints a line of progress to standard error, at once."""
    print(text, file=sys.stderr, flush=True)


def stored_config(encoder_config: Any) -> Any:
    """Returns `encoder_config` with the defaults for what does not change stored examples."""
    names = NOT_STORED.get(encoder_config.kind, ())
    defaults = {f.name: f.default for f in dataclasses.fields(encoder_config) if f.name in names}
    return dataclasses.replace(encoder_config, **defaults)


def encoder_json(encoder_config: Any) -> dict[str, Any]:
    """Returns the encoder as plain JSON values, with its `kind`."""
    return json.loads(json.dumps(_encoder(encoder_config).to_json()))


def encoder_name(encoder_config: Any) -> str:
    """Returns a short name that differs between encoder configs that encode differently."""
    text = json.dumps(encoder_json(encoder_config), sort_keys=True)
    return f"{encoder_config.kind}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def fingerprint(sources: Iterable[reading.Source], more: str = "") -> str:
    """Returns a short hash of the names, sizes and times of the files behind `sources`.

    Args:
        sources: The files.
        more: What else makes a difference.
    """
    digest = hashlib.sha256(more.encode(errors="replace"))
    for path in sorted({os.fspath(source.path) for source in sources}):
        stat = os.stat(path)
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()[:12]


def encode_source(source: reading.Source, encoder_config: Any) -> Encoded:
    """Reads and encodes one source. A piece that fails is reported, never raised."""
    pieces, report = source.read_as(encoder_config)
    encoder = _encoder(encoder_config)
    encoded = []
    for piece in pieces:
        if hasattr(piece.sequence, "filename"):  # else it is sound
            # An encoder may learn from the folder what music this is.
            piece.sequence.filename = piece.sequence.filename or piece.name
        try:
            result = encoder.encode(piece.sequence)
        except Exception as error:  # one odd piece must not cost the rest
            report.drop(f"piece that cannot be encoded ({error!r})", piece.name)
            continue
        report.merge(result.report, piece.name)
        if result.examples:
            examples = list(_as_bytes(result, encoder.event_format))
            encoded.append(
                EncodedPiece(piece.name, piece.split, examples, result.positions, piece.facts)
            )
    return Encoded(encoded, report)


def _as_bytes(result: EncodeResult, format: EventFormat) -> Iterator[tuple[bytes, bytes, bool]]:
    for i, events in enumerate(result.examples):
        controls = b"" if result.controls is None else np.uint8(result.controls[i]).tobytes()
        train_only = bool(result.train_only and result.train_only[i])
        yield np.asarray(events, format.event_dtype).tobytes(), controls, train_only


def arrays(
    events: bytes, controls: bytes, encoder_config: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns a window's events (T, *event_shape) and chord classes uint8 (T,), None without."""
    format = _encoder(encoder_config).event_format
    steps = np.frombuffer(events, format.event_dtype).reshape(-1, *format.event_shape)
    return steps, np.frombuffer(controls, np.uint8) if controls else None


def encode_sources(sources: Sequence[reading.Source], encoder_config: Any) -> Iterator[Encoded]:
    """Yields `encode_source` of each source, in order, with a line of progress now and then.

    The first seconds' work is done here; what is left then goes to one process per core.
    """
    progress = _Progress(len(sources))
    start = time.monotonic()
    done = 0
    cores = _cores()
    while done < len(sources) and (time.monotonic() - start < ALONE_FOR or cores == 1):
        encoded = encode_source(sources[done], encoder_config)
        done += 1
        progress.add(encoded)
        yield encoded
    rest = sources[done:]
    if not rest:
        return
    work = functools.partial(encode_source, encoder_config=encoder_config)
    with WorkerPool(work, min(cores, len(rest))) as pool:
        answers = pool.map(rest, progress.tell, LINE_EVERY)
        for source, answer in zip(rest, answers, strict=True):
            if isinstance(answer, Crash):
                report = Report()
                report.drop(
                    f"file whose reading ended the process (code {answer.code})", source.name
                )
                answer = Encoded([], report)
            progress.add(answer)
            yield answer


def _cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def piece_hash(name: str) -> int:
    """Returns 64 bits that say where the piece `name` falls; the same on every machine."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def split_bounds(hashes: Iterable[int]) -> tuple[int, int]:
    """Returns (a, b): hashes below a are test, below b validation, others train.

    With many pieces the bounds cut off fixed shares of the hash range, so that new pieces do not
    move old ones. With three pieces or more each split gets at least one; with fewer all train.
    """
    ranked = sorted(set(hashes))
    n = len(ranked)
    test = bisect.bisect_left(ranked, int(TEST_SHARE * 2**64))
    held = bisect.bisect_left(ranked, int((TEST_SHARE + VALIDATION_SHARE) * 2**64))
    if n < 3:
        return 0, 0
    test = min(max(test, 1), n - 2)
    held = min(max(held, test + 1), n - 1)
    return ranked[test], ranked[held]


def split_of(name: str, bounds: tuple[int, int]) -> str:
    """Returns the split of the piece `name`; `bounds` as from `split_bounds`."""
    place = piece_hash(name)
    return "test" if place < bounds[0] else "validation" if place < bounds[1] else "train"


def window_key(window: Window, encoder_config: Any) -> bytes:
    """Returns what windows have in common that `settle` looks at together."""
    return window.key or transposition_key(window.events, encoder_config, window.controls)


def transposition_key(events: bytes, encoder_config: Any, controls: bytes = b"") -> bytes:
    """Returns what a window and all its transpositions have in common.

    Training transposes at random, so two windows that differ in key only are the same music.
    """
    return _encoder(encoder_config).transposition_key(*arrays(events, controls, encoder_config))


def settle(windows: Iterable[tuple[str, Window]]) -> tuple[str, list[Window], Report]:
    """Decides which of the windows that share one `window_key` are stored, and where.

    Training goes first, then test, then validation: the others lose theirs. Of equal windows
    inside the split the first is kept.

    Args:
        windows: Pairs of split and window.

    Returns:
        The split, its windows in order, and what was left out.
    """
    windows = [pair for pair in windows if pair[0] == "train" or not pair[1].train_only]
    windows = sorted(windows, key=lambda pair: pair[1].place)
    present = {split for split, _ in windows}
    winner = next((s for s in ("train", "test", "validation") if s in present), "train")
    kept: dict[tuple, Window] = {}
    report = Report()
    for split, window in windows:
        if split != winner:
            continue
        if kept.setdefault(_content(window), window) is not window:
            report.drop("same window again in the split", window.piece)
    for split, window in windows:
        if split != winner:
            moved = _content(window) not in kept
            reason = f"{split} window that {winner} has too" + (", in some key" if moved else "")
            report.drop(reason, window.piece)
    return winner, list(kept.values()), report


def _content(window: Window) -> tuple:
    return window.events, window.controls, window.position


def build(sources: Sequence[reading.Source], listing: Report, encoder_config: Any) -> Windows:
    """Reads, encodes and splits `sources`.

    Args:
        sources: What to read.
        listing: Report of how `sources` were found.
        encoder_config: An encoder section, e.g. `MelodyEncoderConfig`.
    """
    report = Report()
    report.merge(listing)
    windows, facts = [], {}
    for number, encoded in enumerate(encode_sources(sources, encoder_config)):
        report.merge(encoded.report)
        windows.extend(place_windows(number, encoded))
        facts |= facts_of(encoded)
    bounds = split_bounds(
        piece_hash(name) for name in {window.piece for window in windows if not window.split}
    )
    groups = collections.defaultdict(list)
    for window in windows:
        key = window_key(window, encoder_config)
        groups[key].append((window.split or split_of(window.piece, bounds), window))
    splits = {split: [] for split in SPLITS}
    for group in groups.values():
        split, kept, left_out = settle(group)
        splits[split].extend(kept)
        report.merge(left_out)
    for kept in splits.values():
        kept.sort(key=lambda window: window.place)
    return Windows(splits, report, facts)


def facts_of(encoded: Encoded) -> dict[str, dict[str, Any]]:
    """Returns what is known of the pieces of a source beside their examples."""
    return {piece.name: piece.facts for piece in encoded.pieces if piece.facts}


def place_windows(number: int, encoded: Encoded) -> Iterator[Window]:
    """Yields the windows of source number `number`."""
    for i, piece in enumerate(encoded.pieces):
        key = _piece_key(piece) if piece.positions else b""
        for j, (events, controls, train_only) in enumerate(piece.examples):
            place = (number, i, j)
            position = piece.positions[j] if piece.positions else None
            yield Window(
                place, piece.name, events, controls, piece.split, train_only, position, key
            )


def _piece_key(piece: EncodedPiece) -> bytes:
    """Returns a hash of all of a piece: what holds two of them holds the same piece twice."""
    digest = hashlib.sha256()
    for (events, _, _), position in zip(piece.examples, piece.positions, strict=True):
        digest.update(b"%d %d " % position + events)
    return digest.digest()


def told(windows: Sequence[Window], what: str) -> Iterator[Window]:
    """Yields `windows`, with a line of progress now and then."""
    last = time.monotonic()
    for i, window in enumerate(windows):
        yield window
        if time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            say(f"{what}: {i + 1:,} of {len(windows):,}")


def check_usable(sizes: dict[str, int], report: Report, what: str, encoder_config: Any) -> None:
    """Raises: UserError with the report if the collection `what` has nothing to train on."""
    if not sizes.get("train"):
        raise UserError(
            f"{what} gives nothing to train on. What was read, and why it was left out:\n"
            + report.table()
            + "".join(f"\n{hint}" for hint in hints(report, encoder_config))
        )


def summary(sizes: dict[str, int], report: Report) -> str:
    """Returns lines of text: the split sizes, then the report."""
    total = sum(sizes.values())
    parts = ", ".join(f"{sizes.get(split, 0):,} {split}" for split in SPLITS)
    lines = [f"{total:,} different windows: {parts}", report.table()]
    empty = [split for split in SPLITS[1:] if not sizes.get(split)]
    if empty:
        lines.append(
            f"Nothing is held out for {' and '.join(empty)}: too few pieces. "
            "Training works; its quality cannot be measured there."
        )
    return "\n".join(lines)


def hints(report: Report, encoder_config: Any) -> list[str]:
    """Returns what could be changed to keep more, for the reasons that `report` names."""
    found = [
        f"To keep more: {hint}"
        for words, hint in HINTS.items()
        if any(words in reason for reason in report.dropped)
        and all(hasattr(encoder_config, name) for name in re.findall(r"encoder\.(\w+)", hint))
    ]
    return list(dict.fromkeys(found))


def pitch_range(windows: Windows, encoder_config: Any) -> tuple[int, int] | None:
    """Returns the lowest and highest MIDI pitch of all windows; None where ids are no pitches."""
    encoder = _encoder(encoder_config)
    if not encoder.pitch_ids:
        return None
    room = []  # semitones down and up that are left to a window
    for window in (window for split in windows.splits.values() for window in split):
        events, _ = arrays(window.events, window.controls, encoder_config)
        down, up = encoder.possible_shift(events, -127), encoder.possible_shift(events, 127)
        if down or up:  # else it has no notes
            room.append((down, up, events))
    if not room:
        return None
    extremes = max(room, key=lambda r: r[0])[2], min(room, key=lambda r: r[1])[2]
    notes = [note for events in extremes for note in encoder.decode(events).notes]
    pitches = [note.pitch for note in notes if not note.is_drum]
    return min(pitches), max(pitches)


@functools.lru_cache(maxsize=4)
def _encoder(encoder_config: Any) -> Any:
    return build_encoder(encoder_config)


class _Progress:
    """Prints how far reading has come, at most every `LINE_EVERY` seconds."""

    def __init__(self, sources: int):
        self._sources = sources
        self._done = self._pieces = self._windows = 0
        self._start = self._told = time.monotonic()

    def add(self, encoded: Encoded) -> None:
        self._done += 1
        self._pieces += len(encoded.pieces)
        self._windows += sum(len(piece.examples) for piece in encoded.pieces)
        if time.monotonic() - self._told >= LINE_EVERY:
            self.tell()

    def tell(self) -> None:
        self._told = time.monotonic()
        # No time left is told: a file may hold one tune or a thousand.
        say(
            f"Read {self._done:,} of {self._sources:,} files: {self._pieces:,} pieces with "
            f"{self._windows:,} windows in {self._told - self._start:.0f} s"
        )
