"""Asks TensorFlow Serving for a piece and writes it as MIDI; needs nothing but Python.

python client.py http://localhost:8501/v1/models/cat-mel_2bar request.json piece.mid
"""

import json
import sys
import urllib.request
from pathlib import Path

TICKS = 960  # a second, at the default tempo of MIDI and 480 a quarter note


def length(n, last=True):
    return (length(n >> 7, False) if n > 127 else b"") + bytes([n & 127 | (0 if last else 128)])


def midi(piece):
    names = ("start", "end", "pitch", "velocity", "program", "is_drum")
    notes = list(zip(*(piece[name][: piece["num_notes"]] for name in names), strict=True))
    programs = sorted({note[4] for note in notes if not note[5]})
    channels = {program: (i % 15 + 10) % 16 for i, program in enumerate(programs)}  # all but 9
    events = [(0, 0, bytes([0xC0 | channels[program], program])) for program in programs]
    for start, end, pitch, velocity, program, is_drum in notes:
        channel = 9 if is_drum else channels[program]
        events.append((round(start * TICKS), 2, bytes([0x90 | channel, pitch, velocity])))
        events.append((round(end * TICKS), 1, bytes([0x80 | channel, pitch, 0])))
    track, now = b"", 0
    for time, _, message in sorted(events):
        track, now = track + length(time - now) + message, time
    track += b"\x00\xff\x2f\x00"
    return b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk" + len(track).to_bytes(4, "big") + track


url, request, output = sys.argv[1:]
try:
    with urllib.request.urlopen(f"{url}:predict", Path(request).read_bytes()) as answer:
        Path(output).write_bytes(midi(json.load(answer)["predictions"][0]))
except urllib.error.HTTPError as error:
    sys.exit(error.read().decode())
