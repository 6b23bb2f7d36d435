"""Books of ABC tunes: their encodings, tunes and lines."""

from __future__ import annotations

import codecs
import html
import re
from collections import Counter
from collections.abc import Iterator

from magenta_lite.data.abc.fields import AbcError

MAX_TUNE = 500_000  # characters
MAX_TUNES = 300_000  # the others are one, which is too long
MAX_LINE = 20_000
MAX_SHARED_LINES = 20
NEWLINE = re.compile(r"\r+\n?")
TUNE = re.compile(r"(?m)^(?=[ \t\ufeff]*X:)")
# What the header of a book hands on to its tunes; other lines may be prose.
SHARED = re.compile(r"(L):\s*\d+/\d|(M):\s*[\dC(n]|%%MIDI\s|I:\s*MIDI\b")
# `C:|` and `Z:|` are music, and so is every line that begins with the letter of another note.
FIELD = re.compile(r"([A-GZ](?!:\s*[|:\]])|[H-Ymrsw+]):(.*)")
DIRECTIVE = re.compile(r"%%\s*([\w-]+)")
TAGS = "a|b|body|br|center|div|em|font|h\\d|head|hr|html|i|img|li|link|meta|p|pre|script|span|style"
HTML = re.compile(rf"(?i)</|<!|<(?:{TAGS}|table|td|title|tr|tt|ul)(?:>|\s+\w+=|\s*/>)")


def decode(data: bytes) -> str:
    """Returns the text of a file in UTF-8, in UTF-16 with a byte-order mark, or else in Latin-1."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def split_tunes(text: str) -> list[tuple[str, str]]:
    """Returns (number, text) of each tune of a book, with the file header prepended.

    Repeated numbers get a suffix: `12`, `12-2`.
    """
    if re.search("(?i)<html|<pre", text):
        text = html.unescape(text)
    chunks = TUNE.split(NEWLINE.sub("\n", text), MAX_TUNES)
    shared = _shared_lines(chunks.pop(0)) if not TUNE.match(chunks[0]) else ""
    seen: Counter[str] = Counter()
    tunes = []
    for chunk in chunks:
        first, _, rest = chunk.partition("\n")
        number = first.partition(":")[2].partition("%")[0].strip() or "0"
        seen[number] += 1
        name = number if seen[number] == 1 else f"{number}-{seen[number]}"
        tunes.append((name, f"{first.strip()}\n{shared}{rest}"))
    return tunes


def _shared_lines(header: str) -> str:
    lines: dict[str, str] = {}  # the last L: and M:, and instructions
    for line in map(str.strip, header.split("\n")):
        match = SHARED.match(line)
        if match:
            lines[match[1] or match[2] or line] = line[:MAX_LINE]
    return "".join(f"{line}\n" for line in list(lines.values())[-MAX_SHARED_LINES:])


def lines(tune: str) -> Iterator[tuple[str, str]]:
    """Yields (field letter, value) of each line of a tune; music has the letter "".

    Directives (`%%MIDI …`) have the letter "I". Comments, text blocks, lines of HTML, and what
    stands behind the blank line after the music are left out.

    Raises:
        AbcError: If the tune or a line is too long.
    """
    if len(tune) > MAX_TUNE:
        raise AbcError(f"longer than {MAX_TUNE:,} characters")
    block = ""  # name of the directive `%%begin…` that is open
    in_body = has_music = False
    music = ""  # of lines that end with a backslash
    for line in NEWLINE.sub("\n", tune).split("\n"):
        if len(line) > MAX_LINE:
            raise AbcError(f"a line longer than {MAX_LINE:,} characters")
        line = line.strip(" \t\ufeff")
        directive = DIRECTIVE.match(line)
        if block:
            if directive and directive[1] == f"end{block}":
                block = ""
        elif directive:
            block = directive[1][5:] if directive[1].startswith("begin") else ""
            yield "", music
            music = ""
            yield "I", line[2:].partition("%")[0]
        elif not line and has_music:
            break
        elif line and line[0] != "%" and not HTML.match(line):
            line = re.split(r"(?<!\\)%", line, maxsplit=1)[0].rstrip()
            field = FIELD.match(line)
            if field:
                yield "", music
                yield field[1], field[2].strip()
                music, in_body = "", in_body or field[1] == "K"
                continue
            has_music = in_body
            music += line if line[:1].isdigit() else f" {line}"  # an ending may be the next line's
            if not line.endswith("\\"):
                yield "", music
                music = ""
            music = music.rstrip("\\")
    yield "", music
