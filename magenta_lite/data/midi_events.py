"""Reads the events of Standard MIDI Files as arrays.

Source: MIDI Manufacturers Association, "Standard MIDI Files 1.0" (RP-001). Ports are a meta
event of sequencers that it does not have.
"""

from __future__ import annotations

import re
from array import array
from typing import NamedTuple

import numpy as np

from magenta_lite.errors import UnreadableError

MAX_TRACK_BYTES = 4 * 2**20  # twice what 200,000 notes with their ends need
MAX_CHUNKS = 2**16 - 1  # the header has 16 bits for the number of tracks

NOTE_OFF, NOTE_ON, CONTROL, PROGRAM = 0x8, 0x9, 0xB, 0xC  # kinds of channel events
TRACK_NAME, PORT, END_OF_TRACK, TEMPO, TIME_SIGNATURE = 0x03, 0x21, 0x2F, 0x51, 0x58

SYSEX, ESCAPE, META = 0xF0, 0xF7, 0xFF
UNDEFINED = 0xF4, 0xF5
SYSTEM_SIZES = {0xF1: 2, 0xF2: 3, 0xF3: 2}  # with the status; the other ones have no data
LONGEST = 4 + 3  # bytes of a channel event: delta time, status, two data bytes

# Number of bytes behind the delta time of an event whose next byte is the index, while the running
# status has one or two data bytes; 0 where the running status, or none at all, changes.
_NO_STATUS = bytes(256)
_ONE_BYTE = bytes([1] * 0x80 + [0] * 0x40 + [2] * 0x20 + [0] * 0x20)
_TWO_BYTES = bytes([2] * 0x80 + [3] * 0x40 + [0] * 0x20 + [3] * 0x10 + [0] * 0x10)

_CUT_OFF = "damaged MIDI file: a track is cut off"


class Meta(NamedTuple):
    """A meta event."""

    tick: int
    track: int
    kind: int
    data: bytes


class Song(NamedTuple):
    """The events of a file.

    The N channel events are in the order of the file: by track, and by time in each. Tracks of
    format 2, which follow each other, count their ticks from the beginning of the first.

    Attributes:
        ticks_per_quarter: Resolution; 0 if time is counted in seconds.
        ticks_per_second: Resolution; 0 if time is counted in quarter notes.
        tick: Time; int (N,).
        track: Index of the track; int (N,).
        channel: Channel from 0 to 15, plus 16 times the port; int (N,).
        kind: Status without the channel, 8 to 14; int (N,).
        first: First data byte, 0 to 127; int (N,).
        second: Second data byte, 0 to 127; meaningless if the event has one; int (N,).
        ends: Time of the end of each track.
        metas: The meta events, by track.
    """

    ticks_per_quarter: int
    ticks_per_second: float
    tick: np.ndarray
    track: np.ndarray
    channel: np.ndarray
    kind: np.ndarray
    first: np.ndarray
    second: np.ndarray
    ends: np.ndarray
    metas: list[Meta]


def read_events(data: bytes) -> Song:
    """Reads a MIDI file, which may stand in another one, as in RIFF (`.rmi`) and MacBinary.

    Errors that many files have and that leave no doubt are tolerated: wrong sizes and numbers of
    tracks, no end of a track, running status behind system exclusive and meta events, system events
    of the wire, data bytes above 127, which are read as 127.

    Raises:
        UnreadableError: If it is not a MIDI file, or damaged, or has no resolution.
    """
    header = data.find(b"MThd")
    if header < 0:
        raise UnreadableError("not a MIDI file")
    if len(data) < header + 14:
        raise UnreadableError("damaged MIDI file: the header is cut off")
    resolution = _resolution(data[header + 12 : header + 14])
    spans = _track_spans(data, header)
    if not spans:
        raise UnreadableError("damaged MIDI file: no track")
    start, end = spans[0][0], spans[-1][1]
    if end - start > MAX_TRACK_BYTES:
        raise UnreadableError(f"more than {MAX_TRACK_BYTES // 2**20} MB of MIDI tracks")
    last = spans[-1][0]
    return _events(
        data[start:end],
        np.array(spans) - start,
        resolution,
        successive=data[header + 9] == 2,  # the format
        whole=last + int.from_bytes(data[last - 4 : last]) <= len(data),
    )


def _resolution(division: bytes) -> tuple[int, float]:
    """Returns the ticks per quarter note and per second, one of which is 0."""
    high, low = division
    if high < 0x80:
        per_quarter, per_second = 256 * high + low, 0.0
    else:
        frames = 256 - high
        per_quarter, per_second = 0, (30 / 1.001 if frames == 29 else frames) * low
    if not (per_quarter or per_second):
        raise UnreadableError("damaged MIDI file: no resolution (ticks of a quarter note)")
    return per_quarter, per_second


def _track_spans(data: bytes, header: int) -> list[tuple[int, int]]:
    """Returns where the events of each track begin and end.

    The size that a track states is wrong if neither the file ends behind it nor another chunk
    begins; the track then ends where the next one begins.
    """
    spans = []
    position = _next_chunk(data, header, header + 14)
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            break
        end = _next_chunk(data, position, position + 8)
        if data.startswith(b"MTrk", position):
            spans.append((position + 8, end))
        position = end
    return spans


def _next_chunk(data: bytes, chunk: int, behind_header: int) -> int:
    """Returns where the chunk behind the one at `chunk` begins, or the end of the file."""
    end = chunk + 8 + int.from_bytes(data[chunk + 4 : chunk + 8])
    if end == len(data) or re.compile(rb"\w{3}[\w ]", re.ASCII).match(data, end):
        return end
    found = data.find(b"MTrk", behind_header)
    return len(data) if found < 0 else found


def _events(
    data: bytes, spans: np.ndarray, resolution: tuple[int, float], successive: bool, whole: bool
) -> Song:
    """Returns the events of the tracks at `spans`, the last of which is `whole` or cut off."""
    padded = np.frombuffer(data + bytes(LONGEST + 1), np.uint8)
    walk = _Walk(padded, spans[:, 1])
    counts = []
    for start, end in spans.tolist():
        counts.append(walk.follow(start, end))
    if not (whole or walk.has_end):
        raise UnreadableError(_CUT_OFF)

    position = np.frombuffer(walk.positions, np.int64)
    widths = walk.widths[position]
    delta = np.zeros(len(position), np.int64)
    for i in range(4):
        places = np.flatnonzero(widths > i)
        delta[places] = delta[places] << 7 | padded[position[places] + i] & 0x7F
    lasts = np.cumsum(counts)
    firsts = lasts - counts
    ticks = np.concatenate([[0], np.cumsum(delta)])
    zeros = np.zeros(len(counts), np.int64) if successive else ticks[firsts]
    track = np.repeat(np.arange(len(counts)), counts)
    tick = ticks[1:] - zeros[track]

    byte = walk.bytes_behind[position]
    has_status = byte >= 0x80
    status = _filled(byte, has_status & (byte < SYSEX))
    ports = np.zeros(len(position), np.int64)
    is_known = np.zeros(len(position), bool)
    is_known[firsts[firsts < lasts]] = True
    for i, kind, text in walk.metas:
        if kind == PORT and text:
            ports[i], is_known[i] = text[0], True
    ports = _filled(ports, is_known)

    chosen = np.flatnonzero(byte < SYSEX)
    argument = (position + widths + has_status)[chosen]
    return Song(
        *resolution,
        tick=tick[chosen],
        track=track[chosen],
        channel=16 * ports[chosen] + (status[chosen] & 0x0F),
        kind=status[chosen] >> 4,
        first=np.minimum(padded[argument], 127),
        second=np.minimum(padded[argument + 1], 127),
        ends=ticks[lasts] - zeros,
        metas=[Meta(int(tick[i]), int(track[i]), kind, text) for i, kind, text in walk.metas],
    )


def _filled(values: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """Returns `values` with each unknown one replaced by the last known one before it."""
    return values[np.maximum.accumulate(np.where(is_known, np.arange(len(values)), 0))]


class _Walk:
    """Finds the events of tracks.

    Where the event behind an event begins follows from its delta time and its status. Both are
    computed for all bytes at once, as if an event began at each; the walk then adds sizes up.

    Attributes:
        positions: Where each event begins.
        metas: Index of the event, kind and data of each meta event.
        widths: Size of the delta time that would begin at each byte.
        bytes_behind: The byte behind that delta time.
        has_end: Whether the last track has an end-of-track event.
    """

    def __init__(self, padded: np.ndarray, ends: np.ndarray) -> None:
        self.positions = array("q")
        self.metas: list[tuple[int, int, bytes]] = []
        self.has_end = False
        self._data, self._ends = padded.tobytes(), ends
        size = len(padded) - LONGEST
        longer = [padded[i : size + i] >> 7 for i in range(4)]
        for i in range(1, 4):
            longer[i] &= longer[i - 1]
        self.widths = 1 + longer[0] + longer[1] + longer[2]
        self.bytes_behind = padded[1 : size + 1].copy()
        for i in range(3):
            places = np.flatnonzero(longer[i])
            self.bytes_behind[places] = padded[places + i + 2]
        self.bytes_behind[longer[3] > 0] = UNDEFINED[0]  # the delta time has more than four bytes
        self._steps = {_NO_STATUS: bytes(size)}

    def _steps_with(self, sizes: bytes) -> bytes:
        """Returns the number of bytes to the next event for each byte; 0 to look more closely."""
        if sizes not in self._steps:
            behind = np.frombuffer(self.bytes_behind.tobytes().translate(sizes), np.uint8)
            steps = np.where(behind > 0, behind + self.widths, 0)
            near = np.arange(LONGEST)
            places = np.maximum(self._ends[:, None] - near, 0)
            steps[places[steps[places] > near]] = 0  # no event goes beyond the end of its track
            self._steps[sizes] = steps.tobytes()
        return self._steps[sizes]

    def follow(self, start: int, end: int) -> int:
        """Finds the events of the track between `start` and `end`; returns their number."""
        add, before = self.positions.append, len(self.positions)
        self.has_end = False
        position, sizes = start, _NO_STATUS
        while not self.has_end:
            steps = self._steps_with(sizes)
            while step := steps[position]:
                add(position)
                position += step
            if position == end:
                break
            behind = position + int(self.widths[position])
            status = int(self.bytes_behind[position])
            if status < SYSEX:
                sizes = self._sizes_behind(status, sizes)
                continue
            add(position)
            position = self._behind_system_event(status, behind)
            if position > end and not self.has_end:
                raise UnreadableError(_CUT_OFF)
        return len(self.positions) - before

    def _sizes_behind(self, status: int, sizes: bytes) -> bytes:
        """Returns the sizes of events from a channel event on; `sizes` are those before it."""
        if status < 0x80 and sizes is _NO_STATUS:
            raise UnreadableError("damaged MIDI file: an event without a status")
        wanted = _ONE_BYTE if 0xC0 <= status < 0xE0 else _TWO_BYTES
        if status < 0x80 or wanted is sizes:
            raise UnreadableError(_CUT_OFF)
        return wanted

    def _behind_system_event(self, status: int, position: int) -> int:
        """Returns where the event behind the one with its status at `position` begins."""
        if status in UNDEFINED:
            raise UnreadableError("damaged MIDI file: bytes that are not a MIDI event")
        if status not in (SYSEX, ESCAPE, META):
            return position + SYSTEM_SIZES.get(status, 1)
        start = position + 1 + (status == META)
        size, start = self._number(start)
        if status == META:
            kind = self._data[position + 1]
            self.has_end = kind == END_OF_TRACK
            self.metas.append((len(self.positions) - 1, kind, self._data[start : start + size]))
        return start + size

    def _number(self, position: int) -> tuple[int, int]:
        """Returns the number of variable length at `position`, and the position behind it."""
        value = 0
        for byte in self._data[position : position + 4]:
            value, position = value << 7 | byte & 0x7F, position + 1
            if byte < 0x80:
                break
        return value, position
