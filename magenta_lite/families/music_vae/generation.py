"""Generation with a MusicVAE: sampling, reconstruction, interpolation, attribute vectors."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.chords import NO_CHORD, parse_chords
from magenta_lite.converters.grid import Stretch, common_time_stretches, steps_of_notes
from magenta_lite.converters.melody_tracks import melodic_tracks
from magenta_lite.converters.trio import PARTS
from magenta_lite.errors import UserError
from magenta_lite.families.music_vae.infilling import (
    QPM,
    Filler,
    Window,
    first_bars,
    new_notes,
)
from magenta_lite.families.music_vae.latent_space import slerp
from magenta_lite.families.music_vae.latents import encode_examples, padded
from magenta_lite.families.music_vae.options import load_attribute
from magenta_lite.modeling.options import Reconstruction
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import NoteSequence

if TYPE_CHECKING:
    from magenta_lite.converters.converter import Converter
    from magenta_lite.families.music_vae.model import MusicVAE
    from magenta_lite.families.music_vae.options import MusicVAEOptions
    from magenta_lite.modeling.gaps import Gap

TOGETHER = 0.5  # largest difference in 16ths between onsets that count as the same

# Events of a window and their controls: chord classes (T,), hits (T, D), or None.
ReadWindow = tuple[np.ndarray, np.ndarray | None]


def generate(model: MusicVAE, options: MusicVAEOptions, converter: Converter) -> list:
    """Returns NoteSequences; in the modes `reconstruct` and `attribute` `Reconstruction`s.

    There is one for each input window or piece in these modes.

    Raises:
        UserError: If the mode needs other inputs, or an input has no window.
    """
    options.check(converter)
    options.check_hits(model.events_format.control == "hits")
    if options.mode == "infill":
        return _Generation(model, converter, options).rewritten()
    return _Generation(model, converter, options).sequences()


class _Generation:
    """One call of `generate`. A piece is a list of windows: one, or enough for `--bars`."""

    def __init__(self, model, converter, options):
        self.model = model
        self.converter = converter
        self.format: EventFormat = model.events_format
        self.options = options
        # Users' files have drums that the training set of a groove does not have.
        self.reader = converter.for_inference(options.inference_pitch_map)
        self.bars = bars_of(converter)  # per window
        self.windows = max(math.ceil(options.num_bars / self.bars), 1)

    def sequences(self) -> list:
        options = self.options
        given = [piece for named in options.inputs for piece in self._pieces_of(*named)]
        if options.mode == "sample":
            z = self._prior_draws()
        elif options.mode == "interpolate":
            z = self._arcs(given)
            given = given[:1]  # the controls of the start apply to all points
        else:
            z = self._posterior_means(given)
        if options.mode == "attribute":
            z = z + options.amount * self._attribute(z.shape[-1])
        controls = self._controls(given, *z.shape[:2])
        hits = self._hits(given) if options.keep_hits else None
        events = self._decode(z, controls, hits)
        pieces = [self._piece(windows) for windows in events]
        if options.mode not in ("reconstruct", "attribute"):
            return pieces
        inputs = [self._piece(self._events_of(piece)) for piece in given]
        if options.mode == "reconstruct":
            _print_reconstruction(inputs, pieces, options.qpm, self.model.sizes.tapify)
        return [Reconstruction(*pair) for pair in zip(inputs, pieces, strict=True)]

    def rewritten(self) -> list:
        """Returns the pieces of `infill`."""
        options, pieces = self.options, []
        filler = Filler(self.model, options, self.reader.steps_per_bar)
        for gap in options.gaps(self.converter):
            windows = self._windows_around(gap)
            for output in range(options.num_outputs):
                seed, notes = options.seed + output * len(windows), []
                events = filler.filled(windows, seed)
                for window, of_window in zip(windows, events, strict=True):
                    decoded = self.converter.decode(of_window, qpm=QPM)
                    notes += new_notes(gap, window.bar, decoded)
                pieces.append(gap.filled(notes))
        return pieces

    def _windows_around(self, gap: Gap) -> list[Window]:
        """Returns the windows that overlap a gap. Raises: UserError if the piece has no bars."""
        report, steps = Report(), self.reader.steps_per_bar
        tune = gap.sequence
        if self.reader.config.kind != "drums":
            tune = _melody_first(gap.name, tune, self.reader.config)
        reader = with_silence(reading_any_program(self.reader, tune))
        stretches = common_time_stretches(tune, reader.config, report)
        if report.dropped or len(stretches) != 1:
            reasons = _reasons(report) if report.dropped else "its metre changes"
            raise UserError(f"{gap.name} is rewritten only if all of it is in 4/4: {reasons}")
        found, quarter = [], reader.config.steps_per_quarter
        for bar in first_bars(gap, self.bars):
            parts = parts_of(stretches[0], [bar * steps], self.bars * steps, quarter)
            read = [window for part in parts for window in _windows(reader.encode(part))[:1]]
            events, chords = read[0] if read else self._silence()
            number = bar + np.arange(len(events)) // steps
            kept = (number < gap.first - 1) | (number >= gap.last)
            kept &= number < len(gap.lines) - 1
            found.append(Window(bar, events, chords if self.format.control else None, kept))
        return found

    # Inputs ------------------------------------------------------------------------------------

    def _pieces_of(self, name: str, tune) -> list[list[ReadWindow]]:
        if self.reader.config.kind in ("melody", "trio"):
            tune = _melody_first(name, tune, self.reader.config)
        if self.options.num_bars:
            return [self._side_by_side(name, tune)]
        windows = self._windows_of(name, tune)
        number, count = self.options.window, len(windows)
        if number == "all":
            return [[window] for window in windows]
        if not number.isdecimal() or not 1 <= int(number) <= count:
            raise UserError(f"--window={number}: {name} has windows 1 to {count}, or all")
        if count > 1:
            print(f"{name}: window {number} of {count}; choose another with --window")
        return [[windows[int(number) - 1]]]

    def _windows_of(self, name: str, tune) -> list[ReadWindow]:
        """Returns all windows of a piece; with silent edges if there are none without."""
        reader = reading_any_program(self.reader, tune)
        result = reader.encode(tune)
        if not result.examples and not reader.config.pad_edges:
            result = with_silence(reader).encode(tune)
        if not result.examples:
            raise UserError(f"{name} gives no window: {_reasons(result.report)}")
        lacking = _lacking_parts(result.examples, self.format)
        if lacking:
            raise UserError(
                f"{name} has no {' and no '.join(lacking)}, and this model is for "
                f"{', '.join(PARTS)} together; with --bars={self.bars} it takes silence instead"
            )
        return _windows(result)

    def _side_by_side(self, name: str, tune) -> list[ReadWindow]:
        report = Report()
        reader = reading_any_program(self.reader, tune)
        found = windows_side_by_side(reader, tune, self.windows, report)
        silent = found.count(None)
        if silent == self.windows:
            raise UserError(
                f"{name} gives nothing in its first {self.options.bars} bars: {_reasons(report)}"
            )
        if silent:
            print(f"{name}: {silent} of {self.windows} windows are silent or hold nothing usable")
        return [window or self._silence() for window in found]

    def _silence(self) -> ReadWindow:
        events = np.zeros((self.model.length, *self.format.event_shape), self.format.event_dtype)
        if self.format.segments > 1:
            events[:: self.model.length // self.format.segments] = self.format.end_id
        return events, np.full(len(events), NO_CHORD, np.uint8)

    # Latent vectors, float (pieces, windows, Z) ----------------------------------------------

    def _prior_draws(self):
        """Draws a latent vector for each piece; for several windows, points on an arc to another.

        The arc is between standard normal samples, so that its points are as probable as samples.
        """
        options = self.options
        noise = self.model.noise(options.num_outputs, options.seeds or options.seed)[:, None]
        if self.windows > 1:
            ends = tf.random.stateless_normal(tf.shape(noise[:, 0]), [options.seed, 2])
            pairs = zip(noise[:, 0], ends, strict=True)
            noise = tf.stack([slerp(a, b, self.windows) for a, b in pairs])
        return self.model.latents(noise, options.prior).numpy()

    def _arcs(self, given):
        start, end = self._posterior_means(given)
        steps = self.options.num_outputs
        return np.stack([slerp(a, b, steps) for a, b in zip(start, end, strict=True)], axis=1)

    def _posterior_means(self, given):
        events, controls = zip(*(window for piece in given for window in piece), strict=True)
        chords = controls if self.format.control == "chords" else None
        mu = encode_examples(self.model, events, chords)
        return mu.reshape(len(given), -1, mu.shape[-1])

    def _attribute(self, size: int) -> np.ndarray:
        """Returns the attribute's vector float32 (Z,). Raises: UserError if Z is another size."""
        vector = load_attribute(self.options.attribute)
        if vector.shape != (size,):
            raise UserError(
                f"{self.options.attribute} holds a vector of shape {list(vector.shape)}; this "
                f"model needs [{size}]"
            )
        return vector

    # Controls: chord classes (pieces, windows, T) or hits (…, T, D) ------------------------------

    def _controls(self, given, pieces: int, windows: int):
        control, chords = self.format.control, self.options.chords
        if chords:
            controls = self._chords(chords, windows)[None]
        elif not control:
            return None
        else:
            of_pieces = [[self._controls_of(*window) for window in piece] for piece in given]
            controls = np.stack([padded(piece, self.model.length) for piece in of_pieces])
        return controls[np.arange(pieces) % len(controls)]

    def _controls_of(self, events, chords):
        return self._hits_of(events) if self.format.control == "hits" else chords

    def _hits(self, given):
        """Returns the hits of inputs: float (pieces, windows, T, D)."""
        return np.stack([self._hits_of(self._events_of(piece)) for piece in given])

    def _hits_of(self, events):
        return events[..., : self.format.sizes[0]]

    def _chords(self, text: str, windows: int) -> np.ndarray:
        """Returns the chords in a text, spread evenly over time: uint8 (windows, T)."""
        segments = self.format.segments
        chords = parse_chords(text, windows * self.model.length // segments)
        if segments == 1:
            return chords.reshape(windows, -1)
        # All tracks have the same chords; the first event of each, its program, has none.
        tracks = np.repeat(chords.reshape(windows, 1, -1), segments, axis=1)
        tracks[..., 0] = NO_CHORD
        return tracks.reshape(windows, -1)

    # Decoding ----------------------------------------------------------------------------------

    def _decode(self, z, controls, hits=None):
        """Returns events (pieces, windows, T, ...) of latent vectors (pieces, windows, Z).

        `hits` are those that the events keep, as of `_hits`.
        """
        rows = tf.constant(z.reshape(-1, z.shape[-1]), tf.float32)
        if hits is not None:
            events = self.model.perform(rows, hits.reshape(len(rows), *hits.shape[2:])).numpy()
        elif controls is None:
            events = self._decode_rows(rows, 0)
        else:
            # `decode` takes the same controls for all rows: rows are grouped by their controls.
            controls = controls.reshape(len(rows), *controls.shape[2:])
            groups, group = np.unique(controls, axis=0, return_inverse=True)
            shape = (len(rows), self.model.length, *self.format.event_shape)
            events = np.zeros(shape, self.model.head.event_dtype.as_numpy_dtype)
            for i, of_group in enumerate(groups):
                chosen = np.flatnonzero(group.ravel() == i)
                events[chosen] = self._decode_rows(tf.gather(rows, chosen), i, of_group)
        return events.reshape(*z.shape[:2], *events.shape[1:])

    def _decode_rows(self, rows, number: int, controls=None):
        if controls is not None:
            dtype = tf.int32 if self.format.control == "chords" else tf.float32
            controls = tf.constant(controls, dtype)
        settings = Sampler.of(self.options)._asdict()
        seed = self.options.seeds or self.options.seed + number
        return self.model.decode(rows, seed, controls, **settings).numpy()

    def _piece(self, windows):
        """Returns the NoteSequence of events (windows, T, ...)."""
        options = self.options
        if self.format.kind == "groove":  # in one pass, so that hits may precede bar lines
            windows = windows.reshape(1, -1, windows.shape[-1])
        decoded = [
            self.converter.decode(events, qpm=options.qpm, programs=options.programs or None)
            for events in windows
        ]
        if not options.num_bars:
            return decoded[0]
        bar = 240 / options.qpm  # seconds
        return _joined(decoded, self.bars * bar, options.num_bars * bar)

    def _events_of(self, piece: list[ReadWindow]) -> np.ndarray:
        """Returns the padded events of the windows of a piece: (windows, T, ...)."""
        events = padded([events for events, _ in piece], self.model.length)
        return events.astype(self.model.head.event_dtype.as_numpy_dtype)


def _print_reconstruction(inputs, outputs, qpm: float, tapify: bool) -> None:
    """Prints how many notes, or taps, are reconstructed; silence does not count."""
    within = TOGETHER * 60 / qpm / 4  # seconds
    voices_of = functools.partial(_taps, within=within) if tapify else _notes_by_voice
    there = [voices_of(piece) for piece in inputs]
    back = [voices_of(piece) for piece in outputs]
    count = sum(len(starts) for voices in there for starts in voices.values())
    heard = sum(len(starts) for voices in back for starts in voices.values())
    same = sum(
        _in_common(starts, new.get(voice, []), within)
        for old, new in zip(there, back, strict=True)
        for voice, starts in old.items()
    )
    pieces = f"{len(inputs)} pieces" if len(inputs) > 1 else "The piece"
    kind = "taps" if tapify else "notes"
    print(f"{pieces}: {same} of {count} {kind} come back; new ones: {heard - same}")


def _taps(piece, within: float) -> dict[tuple, list[float]]:
    """Returns the onsets of taps in seconds, as one voice; hits close together are one tap."""
    taps: list[float] = []
    for onset in sorted(note.start_time for note in piece.notes):
        if not taps or onset - taps[-1] > within:
            taps.append(onset)
    return {(): taps}


def _notes_by_voice(piece) -> dict[tuple, list[float]]:
    """Returns the onsets of notes in seconds, by instrument and pitch."""
    voices: dict[tuple, list[float]] = {}
    for note in sorted(piece.notes, key=lambda note: note.start_time):
        voice = note.is_drum, note.is_drum or note.program, note.pitch
        voices.setdefault(voice, []).append(note.start_time)
    return voices


def _in_common(first: list[float], second: list[float], apart: float) -> int:
    """Returns the number of disjoint pairs of sorted numbers at most `apart` from each other."""
    pairs, i, j = 0, 0, 0
    while i < len(first) and j < len(second):
        if abs(first[i] - second[j]) <= apart:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif first[i] < second[j]:
            i += 1
        else:
            j += 1
    return pairs


def _melody_first(name: str, tune, config):
    """Returns a NoteSequence whose instruments are ordered by how likely they are the melody.

    The first one gets a program in the range by which the converter selects melodies.
    """
    basses = getattr(config, "bass_programs", (-1, -1))
    tracks = [t for t in melodic_tracks(tune) if not basses[0] <= t.notes[0].program <= basses[1]]
    if not tracks:
        return tune
    if len(tracks) > 1:
        print(f"{name}: the melody is that of {tracks[0].name}")
    low, high = getattr(config, "melody_programs", None) or config.programs or (0, 127)
    place = {track.instrument: i for i, track in enumerate(tracks)}
    ordered = copy.deepcopy(tune)
    for note in ordered.notes:
        # Drums and other tracks without melody keep separate instruments.
        note.instrument = place.get(note.instrument, len(tracks) + note.instrument)
        if note.instrument == 0 and not note.is_drum:
            note.program = min(max(note.program, low), high)
    return ordered


# Windows of a piece ----------------------------------------------------------------------------


def bars_of(converter: Converter) -> int:
    """Returns the length of a converter's windows in bars."""
    return getattr(converter.config, "bars", 1) or converter.config.max_bars


def with_silence(converter: Any, **changes: Any) -> Any:
    """Returns `converter` with windows that may have silent edges."""
    return type(converter)(dataclasses.replace(converter.config, pad_edges=True, **changes))


def reading_any_program(converter: Any, tune: NoteSequence) -> Any:
    """Returns `converter`, without its restriction to programs if no note of a tune satisfies it.

    The restriction is for songs; a tune for a fiddle alone is a melody, too.
    """
    programs = getattr(converter.config, "programs", None)
    if programs is None:
        return converter
    low, high = programs
    if any(low <= note.program <= high and not note.is_drum for note in tune.notes):
        return converter
    return type(converter)(dataclasses.replace(converter.config, programs=None))


def windows_side_by_side(
    converter: Any, tune: NoteSequence, count: int, report: Report
) -> list[ReadWindow | None]:
    """Returns the first `count` consecutive windows of a piece.

    Windows that are silent or that the converter drops are None. Of several melodies in a window
    the first one is taken. The report counts dropped music.
    """
    if converter.event_format.kind == "groove":
        # The converter cuts consecutive windows, and keeps early hits.
        result = with_silence(converter, hop_bars=0, max_examples=0).encode(tune)
        report.merge(result.report)
        found = [window if window[0].any() else None for window in _windows(result)]
    else:
        converter, found = with_silence(converter), []
        steps_per_quarter = converter.config.steps_per_quarter
        for stretch in common_time_stretches(tune, converter.config, report):
            steps = bars_of(converter) * converter.steps_per_bar
            starts = range(0, (count - len(found)) * steps, steps)
            for part in parts_of(stretch, starts, steps, steps_per_quarter):
                result = converter.encode(part)
                report.merge(result.report)
                found += _windows(result)[:1] or [None]
    return (found + [None] * count)[:count]


def parts_of(stretch: Stretch, starts: Iterable[int], steps: int, steps_per_quarter: int):
    """Yields the parts of a stretch that begin at the steps `starts`, as scores of `steps` steps.

    None are yielded from the end of the stretch on.
    """
    seconds = 1 / stretch.steps_per_second(steps_per_quarter)  # per step
    # Quantized first, so that a note that is slightly early belongs to the following part.
    onsets, ends = steps_of_notes(stretch, steps_per_quarter)
    snapped = stretch.score.retimed(onsets * seconds, ends * seconds)
    for first in starts:
        if first * seconds >= snapped.end:
            return
        yield snapped.between(first * seconds, (first + steps) * seconds)


def _windows(result: EncodeResult) -> list[ReadWindow]:
    chords = result.controls or [None] * len(result.examples)
    return list(zip(result.examples, chords, strict=True))


def _lacking_parts(examples, form: EventFormat) -> list[str]:
    """Returns the parts of a trio that are silent in all examples."""
    if form.kind != "multi_categorical":
        return []
    heard = np.any(examples, axis=(0, 1))
    return [name for name, part in zip(PARTS, heard, strict=True) if not part]


def _joined(parts, seconds: float, length: float):
    """Returns concatenated NoteSequences of `seconds` each, cut off after `length` seconds."""
    whole = copy.deepcopy(parts[0])
    del whole.notes[:]
    for i, part in enumerate(parts):
        for note in part.notes:
            if i * seconds + note.start_time < length:
                moved = whole.notes.add()
                moved.CopyFrom(note)
                moved.start_time += i * seconds
                moved.end_time = min(moved.end_time + i * seconds, length)
    whole.total_time = length
    return whole


def _reasons(report: Report) -> str:
    return "; ".join(f"{reason} ({n})" for reason, n in report.dropped.items()) or "no notes there"
