"""Writes NoteSequences as MIDI files.

note_seq's own writer merges tracks that share instrument 0, and writes no title, texts or markers.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import mido

from magenta_lite.converters.grid import DEFAULT_QPM, step_at, tempo_map
from magenta_lite.typing import NoteSequence

TICKS_PER_QUARTER = 480
DRUM_CHANNEL = 9
MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)

DEFAULT_VOLUME = 100  # channel volume in General MIDI
VOLUME = 7  # controller number
HIGHEST = 127  # largest MIDI data byte

MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")

# Order of events at the same tick.
NOTE_OFF, CONTROL, NOTE_ON = range(3)


@dataclasses.dataclass
class Track:
    """The events of one instrument: notes, control changes and pitch bends of a NoteSequence."""

    name: str
    program: int
    is_drum: bool
    notes: list[Any] = dataclasses.field(default_factory=list)
    controls: list[Any] = dataclasses.field(default_factory=list)
    bends: list[Any] = dataclasses.field(default_factory=list)

    @property
    def instrument(self) -> str:
        """Name of the program."""
        import pretty_midi

        if self.is_drum:
            return "Drums"
        return pretty_midi.program_to_instrument_name(self.program)


def tracks_of(sequence: NoteSequence) -> list[Track]:
    """Returns the tracks of a NoteSequence, in the order of their instruments.

    An instrument with several programs becomes several tracks. A track has its name from
    `instrument_infos`, or the name of its program; names are made unique.
    """
    tracks: dict[tuple[int, int, bool], Track] = {}
    names = {info.instrument: info.name for info in sequence.instrument_infos}

    def track_of(event) -> Track:
        key = event.instrument, event.program, event.is_drum
        return tracks.setdefault(key, Track("", event.program, event.is_drum))

    for note in sequence.notes:
        track_of(note).notes.append(note)
    playing = {}
    for (instrument, *_), track in tracks.items():
        playing.setdefault(instrument, []).append(track)
    for kind in ("control_changes", "pitch_bends"):
        for event in getattr(sequence, kind):
            own = tracks.get((event.instrument, event.program, event.is_drum))
            # An event with another program applies to all tracks of its instrument.
            for track in [own] if own else playing.get(event.instrument) or [track_of(event)]:
                (track.controls if kind == "control_changes" else track.bends).append(event)
    taken = Counter()
    for key, track in sorted(tracks.items()):
        name = names.get(key[0]) or track.instrument
        taken[name] += 1
        track.name = name if taken[name] == 1 else f"{name} {taken[name]}"
    return [track for _, track in sorted(tracks.items())]


def length_of(sequence: NoteSequence) -> float:
    """Returns the duration of a NoteSequence in seconds."""
    return max([sequence.total_time, *(note.end_time for note in sequence.notes)])


def groups_of(tracks: Iterable[Track]) -> list[list[Track]]:
    """Groups tracks so that each group fits the channels of a port: 15 tracks, and the drums."""
    tracks = list(tracks)
    melodic = [track for track in tracks if not track.is_drum]
    size = len(MELODIC_CHANNELS)
    groups = [melodic[i : i + size] for i in range(0, len(melodic), size)] or [[]]
    groups[0] += [track for track in tracks if track.is_drum]
    return groups


def midi_bytes(
    sequence: NoteSequence,
    title: str = "",
    texts: Sequence[str] = (),
    tracks: Sequence[Track] | None = None,
    tail: float = 0.0,
    volume: float = 1.0,
    velocity: float = 1.0,
) -> bytes:
    """Returns a NoteSequence as a MIDI file of type 1 with 480 ticks per quarter note.

    The first track has the title as its name, the texts, tempos, time and key signatures, chord
    symbols as texts, and markers (see `converters.writing.add_marker`). More than 15 melodic tracks
    use further ports of 16 channels each.

    Args:
        sequence: The NoteSequence.
        title: Title of the piece.
        texts: Texts about the piece.
        tracks: The tracks to write; None for all.
        tail: Seconds between the end of the piece and the end of the file.
        volume: Factor of the volume of every channel, which is 100 of 127 by default.
        velocity: Factor of the velocity of every note.
    """
    default = [(0.0, 0.0, TICKS_PER_QUARTER * DEFAULT_QPM / 60)]
    tempos = tempo_map(sequence, TICKS_PER_QUARTER) or default

    def tick(seconds: float) -> int:
        return max(round(step_at(tempos, seconds)), 0)

    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER, charset="utf-8")
    last = length_of(sequence) + tail
    head = [(0, 0, mido.MetaMessage("track_name", name=title))] if title else []
    head += [(0, 0, mido.MetaMessage("text", text=text)) for text in texts]
    head += _changes(sequence, tempos, tick)
    file.tracks.append(_timed(head, tick(last)))
    for port, group in enumerate(groups_of(tracks_of(sequence) if tracks is None else tracks)):
        channels = iter(MELODIC_CHANNELS)
        for track in group:
            channel = DRUM_CHANNEL if track.is_drum else next(channels)
            events = _events(track, channel, port, tick, volume, velocity)
            file.tracks.append(_timed(events, tick(last)))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _changes(sequence, tempos, tick):
    """Yields (tick, order, message) of the events for all tracks."""
    rates = {tick(start): ticks_per_second for start, _, ticks_per_second in tempos}
    for start, ticks_per_second in rates.items():
        tempo = round(1e6 * TICKS_PER_QUARTER / ticks_per_second)  # microseconds
        yield start, 0, mido.MetaMessage("set_tempo", tempo=min(max(tempo, 1), 2**24 - 1))
    for meter in sequence.time_signatures:
        numerator, denominator = meter.numerator, meter.denominator
        if 1 <= numerator <= 255 and denominator > 0 and denominator & (denominator - 1) == 0:
            sizes = {"numerator": numerator, "denominator": denominator}
            yield tick(meter.time), 0, mido.MetaMessage("time_signature", **sizes)
    for key in sequence.key_signatures:
        keys = MINOR_KEYS if key.mode == key.MINOR else MAJOR_KEYS
        yield tick(key.time), 0, mido.MetaMessage("key_signature", key=keys[key.key % 12])
    for note in sequence.text_annotations:
        kinds = {note.UNKNOWN: "marker", note.CHORD_SYMBOL: "text"}
        if note.annotation_type in kinds:
            message = mido.MetaMessage(kinds[note.annotation_type], text=note.text)
            yield tick(note.time), 0, message


def _events(track: Track, channel: int, port: int, tick, volume: float, velocity: float):
    """Yields (tick, order, message) of a track."""
    yield 0, 0, mido.MetaMessage("track_name", name=track.name)
    if port:
        yield 0, 0, mido.MetaMessage("midi_port", port=port)
    program = _limited(track.program)
    yield 0, CONTROL, mido.Message("program_change", channel=channel, program=program)
    if volume != 1:
        yield 0, CONTROL, _control(channel, VOLUME, _limited(DEFAULT_VOLUME * volume))
    for event in track.controls:
        number, value = event.control_number, event.control_value
        level = _limited(value * volume if number == VOLUME else value)
        yield tick(event.time), CONTROL, _control(channel, _limited(number), level)
    for bend in track.bends:
        pitch = min(max(bend.bend, -8192), 8191)
        yield tick(bend.time), CONTROL, mido.Message("pitchwheel", channel=channel, pitch=pitch)
    for note in track.notes:
        start = tick(note.start_time)
        end = max(tick(note.end_time), start + 1)
        pitch = _limited(note.pitch)
        loudness = max(_limited(note.velocity * velocity), 1)  # velocity 0 would be a note-off
        on = mido.Message("note_on", channel=channel, note=pitch, velocity=loudness)
        yield start, NOTE_ON, on
        yield end, NOTE_OFF, mido.Message("note_off", channel=channel, note=pitch, velocity=0)


def _control(channel: int, number: int, value: int):
    return mido.Message("control_change", channel=channel, control=number, value=value)


def _limited(value: float) -> int:
    return min(max(round(value), 0), HIGHEST)


def _timed(events, last: int):
    """Returns a MIDI track of (tick, order, message), which ends at tick `last` or later."""
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        message.time = tick - now
        track.append(message)
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(last - now, 0)))
    return track
