"""Writes small MIDI files."""

import struct

QUARTER = 480  # ticks; half a second
END = (0, [0xFF, 0x2F, 0])


def on(pitch, channel=0, velocity=80):
    return [0x90 | channel, pitch, velocity]


def off(pitch, channel=0):
    return [0x80 | channel, pitch, 0]


def delta(ticks):
    groups = [ticks & 0x7F]
    while ticks := ticks >> 7:
        groups.append(ticks & 0x7F | 0x80)
    return bytes(reversed(groups))


def track(*events, size=None):
    """Returns a track of (ticks since the event before, bytes of the event)."""
    data = b"".join(delta(ticks) + bytes(event) for ticks, event in events)
    return b"MTrk" + struct.pack(">I", len(data) if size is None else size) + data


def file(*tracks, format=1, division=QUARTER):
    return b"MThd" + struct.pack(">IHHH", 6, format, len(tracks), division) + b"".join(tracks)


SCALE = [(0, on(60)), (QUARTER, off(60)), (0, on(62)), (QUARTER, off(62)), END]
PORT = (0, [0xFF, 0x21, 1, 0])
