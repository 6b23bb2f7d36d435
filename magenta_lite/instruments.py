"""General MIDI programs by name."""

from __future__ import annotations

import re

from magenta_lite.errors import UserError, unknown_name

PROGRAMS = 128


def program_of(given: str, flag: str) -> int:
    """Returns the General MIDI program of a name, or of a number from 0 to 127.

    The beginning of a name, or a part of it, will do if no other name has it: `choir` is Choir
    Aahs.

    Raises:
        UserError: If there is no such program, or the name fits several.
    """
    if given.strip().lstrip("-").isdecimal():
        number = int(given)
        if not 0 <= number < PROGRAMS:
            raise UserError(f"{flag}={given} must be a General MIDI program, 0 to 127, or its name")
        return number
    names, wanted = program_names(), _plain(given)
    plain = list(enumerate(map(_plain, names)))
    found = [number for number, name in plain if name == wanted]
    found = found or [number for number, name in plain if name.startswith(f"{wanted} ")]
    found = found or [number for number, name in plain if wanted and wanted in name]
    if len(found) == 1:
        return found[0]
    if found:
        fitting = ", ".join(f"{names[number]} ({number})" for number in found)
        raise UserError(f"{flag}={given} fits several instruments; choose one: {fitting}")
    raise unknown_name("instrument", given, names, "See the list of General MIDI's 128 programs.")


def program_names() -> list[str]:
    """Returns the names of the General MIDI programs 0 to 127."""
    from pretty_midi import constants

    return list(constants.INSTRUMENT_MAP)


def _plain(name: str) -> str:
    """Returns the letters and digits of a name in lower case, words apart."""
    return " ".join(re.findall(r"[a-z0-9]+", name.lower()))
