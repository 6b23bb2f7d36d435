"""Notes of events as TensorFlow operations, so that clients of a served model need no converter.

They are the notes of the converters' `decode`, in order of start and pitch.

Shape letters: N pieces, T events, C candidates for notes, M notes of the piece with most of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from magenta_lite.converters import drum_classes
from magenta_lite.converters.chorale import FIRST_PITCH, SILENT, VOICES, ChoraleConverter
from magenta_lite.converters.chorale import VELOCITY as VOICE_VELOCITY
from magenta_lite.converters.drums import DrumsConverter
from magenta_lite.converters.event_sequences.drums import EventDrumsConverter
from magenta_lite.converters.event_sequences.melody import EventMelodyConverter
from magenta_lite.converters.event_sequences.performance import EventPerformanceConverter
from magenta_lite.converters.groove import HIT, LOUDEST, GrooveConverter
from magenta_lite.converters.melody import FIRST_PITCH_ID, NO_EVENT_ID, MelodyConverter
from magenta_lite.converters.melody_performance import MelodyPerformanceConverter
from magenta_lite.converters.multi_performance import PROGRAMS, MultiPerformanceConverter
from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.converter import MuseNetConverter
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.converters.performance import END, PerformanceConverter
from magenta_lite.converters.performance_codec import VELOCITIES, PerformanceCodec
from magenta_lite.converters.trio import MIN_PITCH, TrioConverter
from magenta_lite.converters.writing import VELOCITY
from magenta_lite.typing import Tensor

PITCHES = 128


class Candidates(NamedTuple):
    """What may be notes, (N, C) each or broadcasting to that; times are in steps.

    Attributes:
        there: Bool, which are notes.
        start: Onset.
        end: End.
        pitch: Int32, MIDI pitch.
        velocity: Int32, 1 to 127.
        program: Int32, General MIDI program.
        is_drum: Bool.
    """

    there: Any
    start: Any
    end: Any
    pitch: Any
    velocity: Any = VELOCITY
    program: Any = 0
    is_drum: Any = False


class NoteReader(NamedTuple):
    """How notes are read from the events of a converter.

    Attributes:
        candidates: Returns the `Candidates` of events (N, T, *E).
        steps_per_quarter: Steps of a quarter note; 0 for events with times in seconds.
        steps_per_second: Steps of a second, for events with times in seconds.
    """

    candidates: Callable[[Tensor], Candidates]
    steps_per_quarter: int = 0
    steps_per_second: int = 0

    def notes(self, events: Tensor, qpm: Tensor | None = None) -> dict[str, Tensor]:
        """Returns the notes of events (N, T, *E), padded with zeros.

        Args:
            events: Of the converter; negative ids, and what follows an end, are ignored.
            qpm: Float32 (N,), quarter notes a minute; None for events with times in seconds.

        Returns:
            `pitch`, `velocity` and `program` int32, `start` and `end` float32 in seconds, and
            `is_drum` bool, (N, M) each; and `num_notes` int32 (N,).
        """
        found = self.candidates(events)
        rate = float(self.steps_per_second)
        if qpm is not None:
            rate = qpm[:, None] * (self.steps_per_quarter / 60)
        return _compact(
            found._replace(start=_float(found.start) / rate, end=_float(found.end) / rate)
        )


def note_reader(converter: Any, programs: tuple[int, ...] = ()) -> NoteReader | None:
    """Returns the reader of a converter's events; None for a converter of something else.

    `programs` are those of the melodic parts, as in `generate`; by default those of the converter.

    Raises:
        UserError: If the programs are not valid for the converter.
    """
    converter.check_programs(programs)
    if programs:
        converter = copy.copy(converter)
        converter.default_programs = tuple(programs)
    read = _READERS.get(type(converter))
    return None if read is None else read(converter)


def _compact(found: Candidates) -> dict[str, Tensor]:
    """Returns the notes among candidates, in order, by name."""
    shape = tf.shape(found.there)
    columns = {name: tf.broadcast_to(value, shape) for name, value in found._asdict().items()}
    # By pitch, and then by start; what is no note comes last.
    order = tf.argsort(columns["pitch"], axis=1, stable=True)
    start = tf.where(columns["there"], columns["start"], columns["start"].dtype.max)
    order = tf.gather(
        order,
        tf.argsort(tf.gather(start, order, axis=1, batch_dims=1), axis=1, stable=True),
        axis=1,
        batch_dims=1,
    )
    count = tf.reduce_sum(tf.cast(columns.pop("there"), tf.int32), axis=1)
    order = order[:, : tf.reduce_max(count)]
    kept = tf.sequence_mask(count)
    notes = {}
    for name, value in columns.items():
        ordered = tf.gather(value, order, axis=1, batch_dims=1)
        notes[name] = tf.where(kept, ordered, tf.zeros_like(ordered))
    return {**notes, "num_notes": count}


# Events on a grid of steps --------------------------------------------------------------------


def _on_grid(converter: Any, candidates: Callable[[Tensor], Candidates]) -> NoteReader:
    return NoteReader(candidates, converter.config.steps_per_quarter)


def _melody(converter: Any) -> NoteReader:
    end_id, low = getattr(converter, "end_id", None), converter.config.min_pitch
    (program,) = converter.default_programs
    return _on_grid(converter, lambda ids: _melody_notes(ids, low, program, end_id))


def _melody_notes(ids: Tensor, low: int, program: int, end_id: int | None = None) -> Candidates:
    """Returns the notes of melodies (N, T), whose lowest pitch is `low`."""
    ids, length = _cut(ids, end_id)
    steps = tf.range(tf.shape(ids)[1])
    changes = tf.where(ids != NO_EVENT_ID, steps, length[:, None])
    end, pitch = _next(changes, length), ids - FIRST_PITCH_ID + low
    return Candidates(ids >= FIRST_PITCH_ID, steps, end, pitch, program=program)


def _drums(converter: Any) -> NoteReader:
    pitches = converter.class_pitches
    roll = getattr(converter.config, "roll", False)

    def candidates(events):
        bits = events > 0 if roll else _bits(_cut(events)[0], len(pitches))
        return _drum_notes(bits, pitches)

    return _on_grid(converter, candidates)


def _drum_notes(hits: Tensor, pitches: Any) -> Candidates:
    """Returns the notes of hits bool (N, T, D), of drums with these pitches."""
    step = tf.range(tf.shape(hits)[1])[:, None]
    start = _flat(tf.broadcast_to(step, tf.shape(hits)))
    pitch = _flat(tf.broadcast_to(tf.constant(pitches), tf.shape(hits)))
    return Candidates(_flat(hits), start, start + 1, pitch, is_drum=True)


def _trio(converter: TrioConverter) -> NoteReader:
    pitches = drum_classes.pitch_of_class(drum_classes.REDUCED)
    melody, bass = converter.default_programs

    def candidates(events):
        parts = (
            _melody_notes(events[:, :, 0], MIN_PITCH, melody),
            _melody_notes(events[:, :, 1], MIN_PITCH, bass),
            _drum_notes(_bits(events[:, :, 2], len(pitches)), pitches),
        )
        wide = [_broadcast(part) for part in parts]
        return Candidates(*(tf.concat(columns, axis=1) for columns in zip(*wide, strict=True)))

    return _on_grid(converter, candidates)


def _groove(converter: GrooveConverter) -> NoteReader:
    def candidates(events):
        hits, velocities, offsets = tf.split(events, 3, axis=2)
        found = _drum_notes(hits > HIT, converter.class_pitches)
        start = _float(found.start) - _flat(tf.clip_by_value(offsets, -1, 1)) / 2
        velocity = tf.cast(tf.round(LOUDEST * _flat(velocities)), tf.int32)
        return found._replace(
            start=tf.maximum(start, 0),
            end=start + 1,
            velocity=tf.clip_by_value(velocity, 1, LOUDEST),
        )

    return _on_grid(converter, candidates)


def _chorale(converter: ChoraleConverter) -> NoteReader:
    low, programs = converter.config.min_pitch, converter.default_programs

    def candidates(events):
        ids, length = _cut(events, converter.rules.end or END)
        inside = tf.range(tf.shape(ids)[1]) < length[:, None]
        room = [[0, 0], [0, -tf.shape(ids)[1] % VOICES]]
        ids = tf.pad(tf.where(inside, ids, SILENT), room, constant_values=SILENT)
        rows, steps = tf.shape(ids)[0], tf.shape(ids)[1] // VOICES
        voices = tf.reshape(
            tf.transpose(tf.reshape(ids, [rows, steps, VOICES]), [0, 2, 1]), [-1, steps]
        )
        new = voices != tf.pad(voices, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
        step = tf.broadcast_to(tf.range(steps), tf.shape(voices))
        last = tf.fill(tf.shape(voices)[:1], steps)
        end = _next(tf.where(new, step, steps), last)
        program = tf.tile(tf.repeat(tf.constant(programs), steps)[None], [rows, 1])
        shape = [rows, VOICES * steps]
        return Candidates(
            *(tf.reshape(x, shape) for x in (new & (voices >= FIRST_PITCH), step, end)),
            pitch=tf.reshape(voices, shape) - FIRST_PITCH + low,
            velocity=VOICE_VELOCITY,
            program=program,
        )

    return _on_grid(converter, candidates)


# Events with their own times ------------------------------------------------------------------


def _performance(converter: Any) -> NoteReader:
    played, end = converter.codec, END
    if isinstance(converter, EventPerformanceConverter):
        end = None
    (program,) = converter.default_programs

    def candidates(events):
        return _played_notes(played, _cut(events, end)[0], program)

    return NoteReader(candidates, steps_per_second=played.steps_per_second)


def _played_notes(played: PerformanceCodec, ids: Tensor, program: int) -> Candidates:
    """Returns the notes of the events of a `PerformanceCodec` (N, T), as its `decoded`.

    Negative ids, and those from the size of the codec on, are ignored.
    """
    on, off, shift = (
        _within(ids, *pair) for pair in (played.note_on, played.note_off, played.shift)
    )
    lengths = tf.where(shift, ids - played.shift[0] + 1, 0)
    after = tf.cumsum(lengths, axis=1)
    start = after - lengths
    place = tf.where(on, ids - played.note_on[0], ids - played.note_off[0])
    ended = _partners(tf.where(on | off, place, PITCHES), on, off)
    final = after[:, -1:]
    end = tf.where(ended >= 0, tf.gather(start, tf.maximum(ended, 0), axis=1, batch_dims=1), final)
    first, last = played.velocity_id, played.size - 1
    place_of_bin = tf.where(_within(ids, first, last), tf.range(tf.shape(ids)[1]), -1)
    latest = _running(tf.maximum, place_of_bin, -1)
    bins = tf.gather(ids, tf.maximum(latest, 0), axis=1, batch_dims=1) - first
    loudness = tf.minimum(1 + bins * -(-VELOCITIES // max(played.velocity_bins, 1)), VELOCITIES)
    return Candidates(
        on & (start < end),
        start,
        end,
        place + played.min_pitch,
        tf.where(latest >= 0, loudness, played.initial_velocity),
        program,
    )


def _tracks(converter: MultiPerformanceConverter) -> NoteReader:
    config, bar, played = converter.config, converter.steps_per_bar, converter.codec
    first_program, end_id = played.size, played.size + PROGRAMS + 1

    def candidates(events):
        shape = [tf.shape(events)[0], tf.shape(events)[1]]
        ids, _ = _cut(tf.reshape(events, [-1, config.max_events]), end_id)
        # A bar of silence at the end, after which all notes have reached the end of the bar.
        music = tf.concat(
            [
                tf.where(ids < first_program, ids, -1),
                tf.fill([tf.shape(ids)[0], 1], played.shift[1]),
            ],
            axis=1,
        )
        found = Candidates(*(x[:, :-1] for x in _broadcast(_played_notes(played, music, 0))))
        program = tf.broadcast_to(ids[:, :1] - first_program, tf.shape(ids))
        known = _within(program, 0, PROGRAMS - 1)
        found = found._replace(
            there=found.there & (found.start < bar),
            end=tf.minimum(found.end, bar),
            program=tf.where(known, program, 0),
            is_drum=program == PROGRAMS,
        )
        return Candidates(*(tf.reshape(x, shape) for x in found))

    return _on_grid(converter, candidates)


def _musenet(converter: MuseNetConverter) -> NoteReader:
    del converter
    table = tables()
    meanings = [vocabulary.token(id) for id in range(vocabulary.SIZE)]
    volume = np.array([meaning.volume or 0 for meaning in meanings], np.int32)
    hit = np.array([meaning.kind == "drum_hit" for meaning in meanings])
    player = [vocabulary.BY_NAME[meaning.instrument or "piano"] for meaning in meanings]
    program = np.array([instrument.program for instrument in player], np.int32)
    plucked = np.array([instrument.name in codec.PLUCKED for instrument in player])
    # Notes of an instrument and pitch follow one another, and so do hits of a drum.
    slot = np.maximum(table.on, table.off)
    nothing = slot.max() + 1 + PITCHES
    slot = np.where(hit, slot.max() + 1 + np.arange(vocabulary.SIZE) % PITCHES, slot)
    slot = np.where(slot < 0, nothing, slot).astype(np.int32)

    def candidates(events):
        ids = events[:, :, 0] if len(events.shape) == 3 else events
        stops = (ids == vocabulary.END) | (ids == vocabulary.END_SAMPLE)
        ids, _ = _cut(tf.where(stops, vocabulary.END, ids), vocabulary.END)
        ids = tf.where(ids < 0, vocabulary.START, ids)

        def of(column):
            return tf.gather(tf.constant(column), ids)

        waits = of(table.units.astype(np.int32))
        after = tf.cumsum(waits, axis=1)
        start, final = after - waits, after[:, -1:]
        key, is_hit, starts = of(slot), of(hit), of(table.on >= 0) | of(hit)
        following = _next_of_key(key)
        there = following < tf.shape(ids)[1]
        at = tf.gather(tf.pad(start, [[0, 0], [0, 1]]), following, axis=1, batch_dims=1)
        # A hit ends with the next wait, at the end of the piece without one.
        step = tf.range(tf.shape(ids)[1])
        last = tf.fill(tf.shape(ids)[:1], tf.shape(ids)[1])
        wait = _next(tf.where(waits > 0, step, tf.shape(ids)[1]), last)
        ended = tf.gather(tf.concat([after, final], axis=1), wait, axis=1, batch_dims=1)
        end = tf.where(is_hit, ended, tf.where(there, at, final))
        # As `codec.repaired`: the next note that begins, not what ends the last one.
        onset = _next_onset(key, starts, start)
        end = tf.maximum(end, start + codec.SHORTEST)
        end = tf.minimum(end, onset - tf.where(is_hit, 0, codec.GAP))
        longest = tf.where(of(plucked), codec.LONGEST_PLUCKED, codec.LONGEST)
        end = tf.where(is_hit, end, tf.minimum(end, start + longest))
        return Candidates(
            starts & (end > start), start, end, ids % PITCHES, of(volume), of(program), is_hit
        )

    return NoteReader(candidates, steps_per_second=vocabulary.UNITS_PER_SECOND)


_READERS: dict[type, Callable[[Any], NoteReader]] = {
    MelodyConverter: _melody,
    EventMelodyConverter: _melody,
    DrumsConverter: _drums,
    EventDrumsConverter: _drums,
    TrioConverter: _trio,
    GrooveConverter: _groove,
    ChoraleConverter: _chorale,
    PerformanceConverter: _performance,
    EventPerformanceConverter: _performance,
    MelodyPerformanceConverter: _performance,
    MultiPerformanceConverter: _tracks,
    MuseNetConverter: _musenet,
}

# Rows of numbers ------------------------------------------------------------------------------


def _cut(ids: Tensor, end_id: int | None = None) -> tuple[Tensor, Tensor]:
    """Returns ids (N, T) with -1 from the first end or negative id on, and their number (N,)."""
    ends = ids < 0 if end_id is None else (ids < 0) | (ids == end_id)
    before = tf.cumsum(tf.cast(ends, tf.int32), axis=1) == 0
    length = tf.reduce_sum(tf.cast(before, tf.int32), axis=1)
    return tf.where(before, ids, -1), length


def _within(ids, first: int, last: int):
    return (ids >= first) & (ids <= last)


def _bits(ids, count: int):
    """Returns the bits bool (N, T, count) of ids (N, T); none for negative ids."""
    shifted = tf.bitwise.right_shift(tf.maximum(ids, 0)[..., None], tf.range(count))
    return shifted % 2 > 0


def _flat(x):
    """Returns x (N, T, D) as (N, T * D)."""
    return tf.reshape(x, [tf.shape(x)[0], -1])


def _float(x):
    return tf.cast(x, tf.float32)


def _broadcast(found: Candidates) -> Candidates:
    shape = tf.shape(found.there)
    return Candidates(*(tf.broadcast_to(value, shape) for value in found))


def _running(reduce: Callable, x: Tensor, fill: int) -> Tensor:
    """Returns the running maximum or minimum of each row of x int32 (N, T)."""
    rows, steps = tf.shape(x)[0], tf.shape(x)[1]

    def double(step, x):
        before = tf.concat([tf.fill([rows, step], fill), x[:, : steps - step]], axis=1)
        return 2 * step, reduce(x, before)

    shapes = (tf.TensorShape([]), tf.TensorShape([None, None]))
    return tf.while_loop(lambda step, _: step < steps, double, (1, x), shape_invariants=shapes)[1]


def _next(places: Tensor, last: Tensor) -> Tensor:
    """Returns for each of places (N, T) the least of those after it, or `last` (N,)."""
    after = tf.concat([places[:, 1:], last[:, None]], axis=1)
    most = tf.int32.max
    return tf.reverse(_running(tf.minimum, tf.reverse(after, [1]), most), [1])


def _by_key(keys: Tensor) -> Tensor:
    """Returns the order of keys (N, T) that keeps equal ones in their order."""
    return tf.argsort(keys, axis=1, stable=True)


def _put_back(order: Tensor, values: Tensor) -> Tensor:
    """Returns values (N, T) of the elements in an order, at the places of the elements."""
    return tf.gather(values, tf.argsort(order, axis=1, stable=True), axis=1, batch_dims=1)


def _next_of_key(keys: Tensor) -> Tensor:
    """Returns the place of the next equal one of keys (N, T), int32 (N, T); T for none."""
    order = _by_key(keys)
    in_order = tf.gather(keys, order, axis=1, batch_dims=1)
    same = tf.pad(in_order[:, 1:] == in_order[:, :-1], [[0, 0], [0, 1]])
    following = tf.pad(order[:, 1:], [[0, 0], [0, 1]])
    return _put_back(order, tf.where(same, following, tf.shape(keys)[1]))


def _next_onset(keys: Tensor, starts: Tensor, time: Tensor) -> Tensor:
    """Returns the time of the next onset of the same key, (N, T); the largest int32 for none."""
    others = tf.where(starts, keys, tf.int32.max)  # what begins no note has no key
    following = _next_of_key(others)
    return tf.gather(
        tf.pad(time, [[0, 0], [0, 1]], constant_values=tf.int32.max),
        following,
        axis=1,
        batch_dims=1,
    )


def _partners(keys: Tensor, on: Tensor, off: Tensor) -> Tensor:
    """Returns for each note-on the place of the note-off that ends it, int32 (N, T); -1 for none.

    The first note-off of a key ends the oldest note of that key; one without a note ends nothing.

    Args:
        keys: Int32 (N, T), the same for the note-ons and note-offs of a pitch.
        on: Bool (N, T), note-ons.
        off: Bool (N, T), note-offs.
    """
    count = tf.shape(keys)[1]
    order = _by_key(keys)
    key, on, off = (tf.gather(x, order, axis=1, batch_dims=1) for x in (keys, on, off))
    first = key != tf.pad(key, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
    # The number of notes that sound: a sum of +1 and -1 from the first of a key on, which a
    # note-off does not take below 0. An offset by key makes running extremes those of a key.
    change = tf.cast(on, tf.int32) - tf.cast(off, tf.int32)
    total = tf.cumsum(change, axis=1)
    group = tf.cumsum(tf.cast(first, tf.int32), axis=1)
    before = total - change
    base = _running(tf.maximum, tf.where(first, tf.range(count), 0), 0)
    walk = total - tf.gather(before, base, axis=1, batch_dims=1)
    apart = 2 * count + 2
    lowest = _running(tf.minimum, walk - apart * group, tf.int32.max) + apart * group
    lowest_before = tf.pad(lowest, [[0, 0], [1, 0]])[:, :-1]
    lowest_before = tf.where(first, 0, tf.minimum(lowest_before, 0))
    ends = off & (walk >= lowest_before)

    # The n-th note of a key ends with its n-th note-off that ends one.
    def numbered(chosen):
        number = tf.cumsum(tf.cast(chosen, tf.int32), axis=1, exclusive=True)
        return group * count + number - tf.gather(number, base, axis=1, batch_dims=1)

    sought = numbered(on)
    known = tf.where(ends, numbered(ends), tf.int32.max)
    by_number = _by_key(known)
    known = tf.gather(known, by_number, axis=1, batch_dims=1)
    place = tf.minimum(tf.searchsorted(known, sought), count - 1)
    found = on & (tf.gather(known, place, axis=1, batch_dims=1) == sought)
    partner = tf.gather(
        order, tf.gather(by_number, place, axis=1, batch_dims=1), axis=1, batch_dims=1
    )
    return _put_back(order, tf.where(found, partner, -1))
