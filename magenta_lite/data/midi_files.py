"""Parses MIDI files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magenta_lite.converters.score import ControlArrays, NoteArrays, Score
from magenta_lite.data import midi_events
from magenta_lite.data.midi_events import CONTROL, NOTE_OFF, NOTE_ON, PROGRAM, Meta, Song
from magenta_lite.errors import UnreadableError
from magenta_lite.typing import NoteSequence

DRUM_CHANNEL = 9  # of each port
# Controllers that end all notes of a channel: 120 and 123 to 127.
ENDS_NOTES = np.isin(np.arange(128), [120, *range(123, 128)])

DEFAULT_TEMPO = 500_000  # microseconds of a quarter note
LONGEST_UNENDED = 600.0  # seconds; `formats.checked` refuses files with longer notes
MAX_CONTROLS = 1_000_000
MAX_NAME = 100  # characters of the name of an instrument

NEVER = np.iinfo(np.int64).max


class _Notes(NamedTuple):
    """Notes.

    Attributes:
        event: Index of the event that begins each.
        end: Tick of its end.
        has_off: Whether it has a note-off of its own.
    """

    event: np.ndarray
    end: np.ndarray
    has_off: np.ndarray


def midi_to_sequence(data: bytes) -> NoteSequence:
    """Parses a MIDI file into a NoteSequence; see `read_score`."""
    return read_score(data).sequence()


def read_score(data: bytes) -> Score:
    """Parses a MIDI file.

    An instrument is a track, a channel and a program. It has all control changes of its channel,
    and the program that was set last for the channel, whichever track they are in. A note ends:

    - with its note-off: those of a key of a track are assigned to its notes in order;
    - with the next note of the key, if there are fewer note-offs than notes;
    - with an event that ends all notes of its channel;
    - with its track, but in the channel of the drums after a 16th note.

    Notes of zero length are kept: some files write all drum hits like that.

    Raises:
        UnreadableError: If the bytes are not a MIDI file, or a damaged one.
    """
    from note_seq.protobuf import music_pb2

    song = midi_events.read_events(data)
    metas = sorted(song.metas, key=lambda meta: meta.tick)
    tempos = [meta for meta in metas if meta.kind == midi_events.TEMPO and _tempo(meta)]
    meters = [meta for meta in metas if meta.kind == midi_events.TIME_SIGNATURE and _is_meter(meta)]
    clock = _Clock(song, tempos)

    header = music_pb2.NoteSequence(ticks_per_quarter=max(round(clock.quarter), 1))
    header.source_info.parser = music_pb2.NoteSequence.SourceInfo.PRETTY_MIDI
    header.source_info.encoding_type = music_pb2.NoteSequence.SourceInfo.MIDI
    for time, meta in zip(clock.times_of(meters), meters, strict=True):
        numerator, power = meta.data[:2]
        header.time_signatures.add(time=time, numerator=numerator, denominator=2**power)
    for time, meta in zip(clock.times_of(tempos), tempos, strict=True):
        header.tempos.add(time=time, qpm=60e6 / _tempo(meta))
    return _with_instruments(header, song, clock)


def _tempo(meta: Meta) -> int:
    """Returns the microseconds of a quarter note; 0 if the event is damaged."""
    return int.from_bytes(meta.data[:3]) if len(meta.data) >= 3 else 0


def _is_meter(meta: Meta) -> bool:
    """Returns whether a time signature has a numerator and a possible denominator."""
    return len(meta.data) >= 2 and meta.data[0] > 0 and meta.data[1] < 8


class _Clock:
    """Converts ticks to seconds.

    Attributes:
        quarter: Ticks of a quarter note, at 120 a minute if time is counted in seconds.
    """

    def __init__(self, song: Song, tempos: list[Meta]) -> None:
        self.quarter = song.ticks_per_quarter or song.ticks_per_second / 2
        if song.ticks_per_second:
            tempos = []  # they say where the beats are, but change no time
        # Seconds of a tick from each tempo on.
        rates = np.array([DEFAULT_TEMPO, *map(_tempo, tempos)]) / 1e6 / self.quarter
        self._ticks = np.array([0, *(tempo.tick for tempo in tempos)])
        self._times = np.cumsum([0.0, *(np.diff(self._ticks) * rates[:-1])])
        self._rates = rates

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """Returns times in seconds."""
        i = np.searchsorted(self._ticks, ticks, side="right") - 1
        return self._times[i] + (ticks - self._ticks[i]) * self._rates[i]

    def times_of(self, metas: list[Meta]) -> list[float]:
        """Returns the times of events in seconds."""
        return self.seconds(np.array([meta.tick for meta in metas], np.int64)).tolist()


def _with_instruments(header: NoteSequence, song: Song, clock: _Clock) -> Score:
    """Returns the score of a header, to which the names of the instruments are added."""
    notes = _notes(song, clock)
    channels = int(song.channel.max(initial=0)) + 1
    part = song.track[notes.event] * channels + song.channel[notes.event]
    parts, instrument = np.unique(128 * part + _programs(song, notes.event), return_inverse=True)
    part, program = np.divmod(parts, 128)
    track, channel = np.divmod(part, channels)
    is_drum = channel % 16 == DRUM_CHANNEL

    names = {meta.track: meta.data for meta in song.metas if meta.kind == midi_events.TRACK_NAME}
    for i, name in enumerate(names.get(each, b"") for each in track.tolist()):
        if name:
            header.instrument_infos.add(instrument=i, name=_text(name)[:MAX_NAME])

    start, end = clock.seconds(song.tick[notes.event]), clock.seconds(notes.end)
    end = np.where(notes.has_off, end, np.minimum(end, start + LONGEST_UNENDED))
    played = NoteArrays(
        pitch=song.first[notes.event],
        velocity=song.second[notes.event],
        start=start,
        end=end,
        instrument=instrument,
        program=program[instrument],
        is_drum=is_drum[instrument],
    )[np.argsort(instrument, kind="stable")]
    control, instrument = _for_each_instrument(song, channel)
    controls = ControlArrays(
        time=clock.seconds(song.tick[control]),
        number=song.first[control],
        value=song.second[control],
        instrument=instrument,
        program=program[instrument],
        is_drum=is_drum[instrument],
    )[np.lexsort((song.tick[control], instrument))]
    return Score(played, controls, header, float(end.max(initial=0.0)))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _notes(song: Song, clock: _Clock) -> _Notes:
    """Returns the notes in the order in which they begin in the file."""
    event = np.flatnonzero((song.kind == NOTE_ON) | (song.kind == NOTE_OFF))
    key = song.track[event] << 19 | song.channel[event] << 7 | song.first[event]
    order = np.argsort(key, kind="stable")
    event, key = event[order], key[order]
    is_on = (song.kind[event] == NOTE_ON) & (song.second[event] > 0)

    # Note-offs without a note are ignored; notes without a note-off are found from behind. As many
    # of both remain for each key, in the same order.
    kept = ~_is_unopened(is_on, key)
    event, key, is_on = event[kept], key[kept], is_on[kept]
    on, off = event[is_on], event[~is_on]
    has_off = ~_is_unopened(~is_on[::-1], -key[::-1])[::-1][is_on]

    start, channel = song.tick[on], song.channel[on]
    own_end = np.full(len(on), NEVER)
    own_end[has_off] = song.tick[off]
    is_last = np.append(key[is_on][1:] != key[is_on][:-1], True)[: len(on)]
    struck_again = np.where(is_last, NEVER, np.roll(start, -1))
    track_end = np.where(
        channel % 16 == DRUM_CHANNEL,
        start + round(clock.quarter / 4),
        song.ends[song.track[on]],
    )
    end = np.where(has_off, own_end, np.minimum(struck_again, track_end))

    stop = np.flatnonzero((song.kind == CONTROL) & ENDS_NOTES[song.first])
    # The last one before it in reversed time is the first one after the start of the note.
    found = _last(song.channel[stop], -song.tick[stop], channel, -start - 1)
    end = np.minimum(end, np.append(song.tick[stop], NEVER)[found])

    in_file = np.argsort(on)
    is_doubled = ~has_off & (struck_again == start)
    kept = in_file[~is_doubled[in_file]]
    return _Notes(on[kept], end[kept], has_off[kept])


def _is_unopened(opens: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Returns which closing bracket has no opening one before it, for brackets sorted by key."""
    begins = np.append(True, key[1:] != key[:-1])[: len(key)]
    group = np.cumsum(begins) - 1
    floor = -2 * len(key) * group  # far below those of the key before
    step = np.where(opens, 1, -1)
    height = np.cumsum(step)
    height += floor - (height - step)[begins][group]
    lowest = np.minimum.accumulate(height)
    return height < np.minimum(floor, np.append(0, lowest[:-1])[: len(key)])


def _last(
    groups: np.ndarray, times: np.ndarray, other_groups: np.ndarray, other_times: np.ndarray
) -> np.ndarray:
    """Returns for each of the others the index of the last one of its group until its time.

    -1 where there is none. Of those at the same time, it is the last.
    """
    if not len(groups):
        return np.full(len(other_groups), -1)
    span = 1 + max(np.abs(times).max(), np.abs(other_times).max(initial=0))
    places = groups * span + times
    order = np.argsort(places, kind="stable")
    found = np.searchsorted(places[order], other_groups * span + other_times, side="right") - 1
    found = np.append(order, -1)[found]
    return np.where(groups[found] == other_groups, found, -1)


def _programs(song: Song, event: np.ndarray) -> np.ndarray:
    """Returns the program of the note that begins with each event.

    A program of the note's own track precedes those of other tracks at the same time.
    """
    change = np.flatnonzero(song.kind == PROGRAM)
    channel, track = song.channel, song.track << 12 | song.channel
    own = _last(track[change], change, track[event], event)
    other = _last(channel[change], song.tick[change], channel[event], song.tick[event])
    tick = np.append(song.tick[change], -1)
    # Where both are of the note's track, `other` is behind the note.
    is_behind = (own >= 0) & (np.append(song.track[change], -1)[other] == song.track[event])
    chosen = np.where((tick[other] > tick[own]) & ~is_behind, other, own)
    return np.append(song.first[change], 0)[chosen]


def _for_each_instrument(song: Song, channel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns event and instrument of each control change, for all instruments of its channel.

    Args:
        song: The events.
        channel: Channel of each instrument.

    Raises:
        UnreadableError: If there are too many.
    """
    control = np.flatnonzero(song.kind == CONTROL)
    by_channel = np.argsort(channel, kind="stable")
    first, behind = (
        np.searchsorted(channel[by_channel], song.channel[control], side)
        for side in ("left", "right")
    )
    counts = behind - first
    if counts.sum() > MAX_CONTROLS:
        raise UnreadableError(f"more than {MAX_CONTROLS:,} control changes")
    place = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
    return np.repeat(control, counts), by_channel[place]
