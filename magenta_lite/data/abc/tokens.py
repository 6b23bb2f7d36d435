"""Tokens of a line of ABC music."""

from __future__ import annotations

import re
from collections.abc import Iterator

PITCH = r"(?P<{0}accidental>\^{{1,2}}|_{{1,2}}|=)?(?P<{0}micro>(?<=[\^_])\d*/\d*)?"
PITCH += r"(?P<{0}letter>[A-Ga-g])(?P<{0}octave>[,']*)"
LENGTH = r"(?P<{0}above>\d*)(?P<{0}slashes>/*)(?P<{0}below>\d*)"
ENDINGS = r"\d+(?:[,\-.]\s?\d+)*"
# "In the wild, bar lines may have any shape": section 4.8.
BAR = r"(?:\[(?=[|:])|:(?=[:|\]])|\|)(?:[|:\]]|\[(?=[|:\]]))*"
# The name of an alternative is the kind of the token. Lengths are bounded, because a bracket that
# is never closed must not cost a scan of the whole line.
TOKEN = re.compile(
    "|".join(
        [
            rf"(?P<note>{PITCH.format('')}{LENGTH.format('')})",
            rf"(?P<bar>(?P<bar_shape>{BAR})(?:(?:\s*\[)?(?P<bar_endings>{ENDINGS}))?)",
            r'(?P<text>"(?P<words>[^"]{0,1000})"?)',
            rf"(?P<rest>[zx]{LENGTH.format('rest_')})",
            r"(?P<tie>-)",
            r"(?P<broken>>+|<+)",
            r"(?P<field>\[(?P<name>[A-Za-z]):(?P<value>[^\]]{0,1000})\])",
            rf"(?P<variant>\[(?P<endings>{ENDINGS}))",
            rf"(?P<chord>\[(?P<notes>[^\[\]|]{{0,500}})\]{LENGTH.format('chord_')})",
            r"(?P<grace>\{[^{}]{0,500}\})",
            r"(?P<decoration>![^!|]{0,50}!|\+[a-zA-Z0-9.]{1,50}\+)",
            r"(?P<tuplet>\((?P<p>\d+)(?::(?P<q>\d*))?(?::(?P<r>\d*))?)",
            r"(?P<bars>[ZX](?P<count>\d*))",
            r"(?P<space>y[\d/]*)",
            r"(?P<overlay>\(?&\)?)",
        ]
    )
)
CHORD_NOTE = re.compile(
    rf"{PITCH.format('')}{LENGTH.format('')}(?P<tie>-?)|![^!]*!|\"(?P<words>[^\"]*)\""
)


def tokens(line: str) -> Iterator[tuple[str, re.Match]]:
    """Yields the kind and the match of each token; characters that mean nothing are left out."""
    line = line.replace("`", "").replace("\\", " ").replace("$", "")
    for match in TOKEN.finditer(line):
        kind = match.lastgroup
        assert kind is not None
        yield kind, match
