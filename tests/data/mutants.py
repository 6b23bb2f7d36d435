"""Makes mutants: valid small files of every format that is read, with some damage."""

from __future__ import annotations

import bz2
import copy
import functools
import gzip
import io
import json
import lzma
import random
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
from bad_files import record
from midi_songs import END, PORT, QUARTER, SCALE, file, on, track
from musicxml_scores import ending, harmony, melody, metronome, note, score, transpose, zipped

Files = dict[str, bytes]  # by name in a folder

MOST_TEXT = 10**6
NUMBERS = ("0", "-1", "1", "100000000000", "9" * 5000, "nan", "1e999", "0.5", "")
BYTES = (b"\0", b"\x01", b"\x7f", b"\x80", b"\xff")
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1", "utf-7")
NAMES = ("../../up", "/etc/x", "Tön\xe9", "n\nl", "a" * 300, "a//b/./c", "x\0y", "", "\udce9", ".h")


def mutant(number: int) -> tuple[str, Files]:
    """Returns the kind and the files of a mutant; kinds take turns."""
    kind = list(KINDS)[number % len(KINDS)]
    return kind, KINDS[kind](random.Random(number))


# Bytes and text -----------------------------------------------------------------------------------


def changed_bytes(data: bytes, rng: random.Random, most: int = 4) -> bytes:
    """Returns data with parts flipped, removed, doubled, moved, set to extremes, or cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, most)):
        start = rng.randrange(len(changed) + 1)
        size = rng.choice((1, 1, 2, 4, 8, 30))
        part = bytes(changed[start : start + size])
        match rng.randrange(5):
            case 0 if part:
                changed[start] ^= 1 << rng.randrange(8)
            case 1:
                del changed[start : start + size]
            case 2:
                changed[start:start] = part * rng.choice((1, 1, 50))
            case 3:
                del changed[start : start + size]
                place = rng.randrange(len(changed) + 1)
                changed[place:place] = part
            case _:
                changed[start : start + size] = rng.choice(BYTES) * size
    return cut(bytes(changed), rng) if rng.random() < 0.1 else bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: len(data) * rng.randrange(10) // 10]


def changed_text(text: str, rng: random.Random, nests: tuple[str, ...]) -> bytes:
    """Returns text with numbers, words and lines changed, perhaps in another encoding.

    `nests` are what opens a nested structure.
    """
    for _ in range(rng.randint(0, 3)):
        parts = re.split(rng.choice((r"(\d+)", r"(\n)", r"(\W)", r"(\n)")), text)
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(7):
            case 0 | 1:
                places = [k for k, part in enumerate(parts) if part.isdigit()]
                parts[rng.choice(places or [i])] = rng.choice(NUMBERS)
            case 2:
                parts[i] = ""
            case 3:
                parts[i] *= rng.choice((2, 2, 300))
            case 4:
                parts[i], parts[j] = parts[j], parts[i]
            case 5:
                parts[i:i] = [rng.choice(nests) * rng.choice((3, 30, 3000))]
            case _:
                parts[i:i] = [rng.choice(("\0", "\ufeff", "é", " " * 10**5, "a" * 10**5, "\r"))]
        text = "".join(parts)[:MOST_TEXT]
    data = text.encode(errors="replace")
    if rng.random() < 0.15:
        data = text.encode(rng.choice(ENCODINGS), errors="replace")
    return changed_bytes(data, rng) if rng.random() < 0.3 else data


# MIDI ---------------------------------------------------------------------------------------------

EVENT_BYTES = (0, 1, 0x7F, 0x80, 0xF0, 0xFF)
DIVISIONS = (*[QUARTER] * 5, 0, 1, 0x7FFF, 0x8000, 0xE728, 0xFFFF)
SONG = [
    [(0, [0xFF, 0x51, 3, 7, 0xA1, 0x20]), (0, [0xFF, 0x58, 4, 4, 2, 24, 8]), (960, [0xC1, 4]), END],
    [PORT, (0, [0xB0, 64, 127]), *SCALE[:-1], (9, [0xB0, 64, 0]), *SCALE],
    [(0, [0xF0, 2, 1, 0xF7]), (0, on(40, 1)), (960, [40, 0]), (0, [0xFF, 5, 2, 97, 98]), END],
    [(0, on(36, 9)), (240, on(38, 9)), (240, [0xB9, 123, 0]), (0, [0xE9, 0, 64]), *SCALE],
]


def midi(rng: random.Random) -> bytes:
    """Returns a song of which some events and some bytes were changed."""
    tracks = [list(events) for events in SONG]
    for _ in range(rng.randint(0, 3)):
        events = rng.choice(tracks)
        i = rng.randrange(len(events) or 1)
        event = events.pop(i) if events else END
        _, data = event
        number = rng.randrange(len(data))
        changed = [*data[:number], rng.choice(EVENT_BYTES), *data[number + 1 :]]
        instead = rng.choice(
            [
                [],
                [event] * 2,
                [event] * 300,
                [(rng.choice([0, 127, 2**28 - 1]), data)],
                [(0, changed)],
            ]
        )
        events[i:i] = instead
        if not instead:
            rng.choice(tracks).insert(0, event)
    sizes = [rng.choice([None] * 9 + [0, 1, 2**31, 2**32 - 1]) for _ in tracks]
    chunks = [track(*events, size=size) for events, size in zip(tracks, sizes, strict=True)]
    data = file(*chunks, format=rng.choice([0, 1, 1, 2, 9]), division=rng.choice(DIVISIONS))
    return changed_bytes(data, rng, most=3) if rng.random() < 0.5 else data


def riff(rng: random.Random) -> bytes:
    """Returns a song in a RIFF file."""
    data = midi(rng)
    size = rng.choice([len(data), 0, 2**32 - 1])
    return struct.pack("<4sI4s4sI", b"RIFF", len(data) + 12, b"RMID", b"data", size) + data


# Text formats -------------------------------------------------------------------------------------

TUNE = """X:{}
T:The Mutant
M:6/8
L:1/8
Q:1/4=120
P:A2(BA)2
V:1 clef=treble-8 transpose=-2
V:2 octave=-1
%%MIDI program 41
K:Dmix
P:A
V:1
|:"D"ABc d2e|(3fga f>e d/2z/|[1 "A7"[Ac]3 z3:|[2 d6-||
V:2
D3 F3|& z6|A,6 & F6|D6|Z2|
P:B
V:1
|: {{cd}}d3 [M:3/4] B2 A2 F2|(5ABcde f2 [Q:90] [K:G clef=bass] z2 |1,3 G6:|2 g6|]
w: la la la
s: * *
"""
BOOK = "%abc-2.1\n%%MIDI drummap C 36\nM:4/4\n\nSome prose.\n\n" + "\n".join(
    TUNE.format(i) for i in (1, 2, 2)
)
ABC_NESTS = ("(", "[", "{", '"', "(&", "P:((", "|:", "[1", "(9:2:9", "%%begintext\n", "Z999|", "c/")
XML_NESTS = ("<note>", "<a>", "<!-- ", "<measure>", "<chord/>", "&lt;", "<![CDATA[")
JSON_NESTS = ("[", "{", '{"a":[', '"')
CSV_NESTS = ('"', ",", "\n")


def abc(rng: random.Random) -> bytes:
    """Returns a changed book, or tune."""
    return changed_text(rng.choice((BOOK, TUNE.format(1))), rng, ABC_NESTS)


def xml(rng: random.Random) -> bytes:
    """Returns a score of which numbers, elements and text were changed."""
    root = ElementTree.fromstring(rng.choice(scores()))
    for _ in range(rng.randint(0, 4)):
        _change_element(root, rng)
    text = ElementTree.tostring(root, encoding="unicode")
    if rng.random() < 0.1:
        tokens = re.split(r"(<[^>]*>)", text)
        tag = rng.choice(("note", "measure", "direction", "x"))
        deep = f"<{tag}>" * 50_000 + f"</{tag}>" * 50_000
        tokens[rng.randrange(len(tokens))] = rng.choice(["", deep, *tokens])
        text = "".join(tokens)
    if rng.random() < 0.3:
        return changed_text(text.replace("><", ">\n<"), rng, XML_NESTS)
    return text.encode()


@functools.cache
def scores() -> list[str]:
    a = "".join(note(f"{name}4") for name in "CDEF")
    more = note("C4", more='<tie type="start"/>') + note("C4", more='<tie type="stop"/>') + a
    partwise = score([transpose("<octave-change>-1</octave-change>") + harmony("C") + a, a], [a, a])
    return [
        melody("A", "B", "C", "B", "D"),
        melody(more, "B"),
        melody(metronome(90) + a, ending(1, "B"), ending(2, "C", last=True)),
        partwise,
        "<score-timewise><part-list><score-part id='P0'/></part-list>"
        f"<measure><part id='P0'>{a}</part></measure></score-timewise>",
    ]


def _change_element(root: ElementTree.Element, rng: random.Random) -> None:
    parents = [element for element in root.iter() if len(element)]
    if not parents:
        return
    parent, other = rng.choice(parents), rng.choice(parents)
    i = rng.randrange(len(parent))
    match rng.randrange(5):
        case 0:
            numbers = [e for e in root.iter() if (e.text or "").strip().lstrip("-").isdigit()]
            rng.choice(numbers or [root]).text = rng.choice(NUMBERS)
        case 1:
            attributed = rng.choice([e for e in root.iter() if e.attrib] or [root])
            for name in attributed.attrib:
                attributed.set(name, rng.choice((*NUMBERS, "yes", "no", "start", "stop")))
        case 2:
            parent.remove(parent[i])
        case 3:
            copies = [copy.deepcopy(parent[i]) for _ in range(rng.choice((1, 1, 1, 100)))]
            place = rng.randint(0, len(other))
            other[place:place] = copies
        case _:
            parent[i].tag = rng.choice(parents).tag


def tokens(rng: random.Random) -> bytes:
    """Returns a changed list of MuseNet tokens."""
    ids = ", ".join(["963", "3991", "961", "3979", "4300", "3876", "3991", "835"] * 3)
    names = " ".join(["start", "piano:v72:G3", "wait:24", "piano:v0:G3", "wait:12", "end"] * 3)
    return changed_text(rng.choice((ids, names, f"[{ids}]")), rng, JSON_NESTS)


# Archives -----------------------------------------------------------------------------------------

TARS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": lambda data: data,
    ".tar.gz": functools.partial(gzip.compress, compresslevel=1),
    ".tar.bz2": bz2.compress,
    ".tar.xz": functools.partial(lzma.compress, preset=0),
}
PAX = [
    *({"size": number} for number in ("-1", "-10240", "0", "1", str(2**33), str(2**62), "nan")),
    {"path": "../" * 100 + "x.mid"},
    {"mtime": "1e999", "uid": "9" * 5000},
    {"GNU.sparse.size": "4000000000", "GNU.sparse.map": "0,1"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"},
    {"hdrcharset": "BINARY", "path": "\udce9.mid"},
    {"comment": "x" * 10**6},
]


def archive(rng: random.Random) -> Files:
    """Returns an archive, perhaps of archives, of files that are changed or not."""
    data: Files = {
        "a.mid": midi(rng) if rng.random() < 0.3 else file(track(*SCALE)),
        "b.abc": abc(rng) if rng.random() < 0.3 else BOOK.encode(),
        rng.choice(("c.xml", "readme.txt", "d.kar.gz")): rng.choice(scores()).encode(),
    }
    for _ in range(rng.choice((0, 0, 0, 1, 2, 3, 6))):
        data[rng.choice(NAMES) + rng.choice((".mid", "", ".zip"))] = midi(rng)
        name, packed = _packed(data, rng)
        data = {name: packed, "a.mid": midi(rng)}
    name, packed = _packed(data, rng)
    packed = rng.choice((changed_bytes, cut, lambda data, _: data))(packed, rng)
    return {name: packed}


def _packed(data: Files, rng: random.Random) -> tuple[str, bytes]:
    if rng.random() < 0.4:
        return "in.zip", _zip(data, rng)
    suffix, pack = rng.choice(list(TARS.items()))
    content = _tar(data, rng)
    if rng.random() < 0.2:
        content = changed_bytes(content, rng)
    return f"in{suffix}", pack(content)


def _zip(data: Files, rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(buffer, "w", compression) as packed:
        for name, content in data.items():
            packed.writestr(name.encode(errors="replace").decode() or "x", content)
    changed = bytearray(buffer.getvalue())
    if rng.random() < 0.5:  # a number in the directory, or in the end of it
        entry = changed.find(b"PK\1\2")
        place = rng.choice((entry + rng.randrange(8, 46, 2), len(changed) - rng.randrange(2, 14)))
        changed[place : place + 4] = rng.choice(BYTES) * rng.choice((1, 2, 4))
    return bytes(changed)


def _tar(data: Files, rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for name, content in data.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if rng.random() < 0.3:
                entry.pax_headers = rng.choice(PAX)
            packed.addfile(entry, io.BytesIO(content))
    changed = bytearray(buffer.getvalue())
    if rng.random() < 0.4:  # a field of a header, with the right checksum
        start = 512 * rng.randrange(max(len(changed) // 512, 1))
        header = changed[start : start + 512]
        place, size = rng.choice(((0, 100), (124, 12), (124, 12), (156, 1), (157, 100), (345, 155)))
        fields = (b"7" * size, b"\x80" + b"\0" * 7 + b"\x7f\xff\xff\xff", b"L", b"S", b"-1", b"x")
        header[place : place + size] = rng.choice(fields)[:size].ljust(size, b"\0")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        changed[start : start + 512] = header
    return bytes(changed)


def mxl(rng: random.Random) -> bytes:
    """Returns a compressed score."""
    packed = zipped({"score.xml": xml(rng) if rng.random() < 0.5 else scores()[0]})
    return changed_bytes(packed, rng) if rng.random() < 0.5 else packed


# Records, sound and tables ------------------------------------------------------------------------

TIMES = (0.0, -1.0, 1e11, float("nan"), float("inf"), 1e-300, 5.0)


def records(rng: random.Random) -> bytes:
    """Returns records of NoteSequences with changed notes, bytes and sizes."""
    parts = []
    for _ in range(rng.randint(1, 3)):
        data = _sequence(rng)
        if rng.random() < 0.3:
            data = changed_bytes(data, rng)
        size = rng.choice((None, None, None, None, 0, len(data) + 1, 2**31, 2**60, 2**64 - 1))
        parts.append(record(data, size))
    whole = b"".join(parts)
    return changed_bytes(whole, rng) if rng.random() < 0.2 else whole


def _sequence(rng: random.Random) -> bytes:
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence(ticks_per_quarter=220, total_time=4)
    sequence.tempos.add(qpm=120)
    sequence.time_signatures.add(numerator=4, denominator=4)
    for i in range(32):
        sequence.notes.add(pitch=60 + i % 5, velocity=80, start_time=i / 4, end_time=(i + 1) / 4)
    sequence.control_changes.add(control_number=64, control_value=127)
    sequence.text_annotations.add(text="Cmaj7", annotation_type=1)
    for _ in range(rng.randint(0, 3)):
        chosen = rng.choice(sequence.notes)
        match rng.randrange(6):
            case 0:
                field = rng.choice(("pitch", "velocity", "program", "instrument"))
                setattr(chosen, field, rng.choice((0, -1, 128, 2**31 - 1)))
            case 1:
                setattr(chosen, rng.choice(("start_time", "end_time")), rng.choice(TIMES))
            case 2:
                sequence.tempos.add(time=rng.choice(TIMES), qpm=rng.choice((*TIMES, 1e300)))
            case 3:
                meter = sequence.time_signatures.add(time=rng.choice(TIMES))
                meter.numerator, meter.denominator = rng.choice(((0, 4), (3, 0), (-1, 4), (7, 2)))
            case 4:
                sequence.notes.extend([chosen] * rng.choice((1, 1000)))
            case _:
                text = sequence.text_annotations.add(time=rng.choice(TIMES), annotation_type=1)
                text.text = rng.choice(("N.C.", "?", "C" * 5000, "\0"))
    return sequence.SerializeToString()


@functools.cache
def _sounds() -> Files:
    import soundfile

    wave = 0.5 * np.sin(np.arange(3200) / 5)
    details = {".opus": {"format": "OGG", "subtype": "OPUS"}, ".wav": {"subtype": "PCM_24"}}
    sounds = {}
    for suffix in (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".opus"):
        buffer = io.BytesIO()
        format = {"format": suffix[1:].upper()} | details.get(suffix, {})
        soundfile.write(buffer, wave, 16_000, **format)
        sounds[suffix] = buffer.getvalue()
    return sounds


def sound(rng: random.Random) -> Files:
    """Returns a sound file; most changes are in its header."""
    suffix, data = rng.choice(list(_sounds().items()))
    if rng.random() < 0.6:
        size = rng.choice((44, 100))
        data = changed_bytes(data[:size], rng, most=2) + data[size:]
    else:
        data = changed_bytes(data, rng)
    return {f"sound{suffix}": data}


LABELS = 'file,artist,genre,lyrics,lyrics_file\na.wav,"Ada, B.",rock,la la,words.txt\nb.wav,,,,\n'


def labels(rng: random.Random) -> Files:
    """Returns sounds with a changed table of labels, file of labels, and lyrics."""
    files = {"a.wav": _sounds()[".wav"], "b.wav": _sounds()[".wav"]}
    sidecar = json.dumps({"artist": "Ada", "genre": "rock", "lyrics": "la\nla", "more": [1, 2.5]})
    texts = {"labels.csv": LABELS, "b.json": sidecar, "words.txt": "la la\nla"}
    chosen = rng.choice(list(texts))
    for name, text in texts.items():
        nests = JSON_NESTS if name == "b.json" else CSV_NESTS
        files[name] = changed_text(text, rng, nests) if name == chosen else text.encode()
    return files


def styles(rng: random.Random) -> Files:
    """Returns songs with a changed table of styles."""
    song = file(track(*SCALE))
    table = changed_text('a.mid,waltz\n"b.mid","Bossa, slow"\n', rng, CSV_NESTS)
    return {"a.mid": song, "b.mid": song, "styles.csv": table}


def takes(rng: random.Random) -> Files:
    """Returns the folder of the Groove MIDI Dataset with a changed table."""
    song = file(track((0, on(36, 9)), (240, on(38, 9)), END))
    table = "drummer,midi_filename,split\nx,a/1.mid,train\nx,a/2.mid,test\n"
    return {"a/1.mid": song, "a/2.mid": song, "info.csv": changed_text(table, rng, CSV_NESTS)}


def chorales(rng: random.Random) -> Files:
    """Returns a changed file of the JSB Chorales."""
    grid = [[60, 55, 52, 48], [62, 57, 53, -1]] * 20
    text = json.dumps({"train": [grid], "valid": [grid], "test": [grid]}, indent=0)
    return {"Jsb16thSeparated.json": changed_text(text, rng, JSON_NESTS)}


def wad(rng: random.Random) -> bytes:
    """Returns a changed WAD file of two songs."""
    songs = [file(track(*SCALE)), midi(rng)]
    start = 12 + sum(map(len, songs))
    entries, place = b"", 12
    for i, song in enumerate(songs):
        entries += struct.pack("<ii8s", place, len(song), b"D_E1M%d" % i)
        place += len(song)
    header = struct.pack("<4sii", b"IWAD", len(songs), start)
    data = header + b"".join(songs) + entries
    if rng.random() < 0.5:
        place = rng.choice((*range(4, 12), *range(start, len(data))))
        return data[:place] + rng.choice(BYTES) + data[place + 1 :]
    return changed_bytes(data, rng)


def _one(name: str, make: Callable[[random.Random], bytes]) -> Callable[[random.Random], Files]:
    return lambda rng: {name: make(rng)}


KINDS: dict[str, Callable[[random.Random], Files]] = {
    "MIDI": _one("song.mid", midi),
    "RIFF": _one("song.rmi", riff),
    "ABC": _one("book.abc", abc),
    "MusicXML": _one("score.musicxml", xml),
    "compressed MusicXML": _one("score.mxl", mxl),
    "archive": archive,
    "TFRecord": _one("records.tfrecord", records),
    "tokens": _one("tokens.txt", tokens),
    "sound": sound,
    "labels": labels,
    "styles": styles,
    "Groove MIDI Dataset": takes,
    "JSB Chorales": chorales,
    "WAD": _one("songs.wad", wad),
}
