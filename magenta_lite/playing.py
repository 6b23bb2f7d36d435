"""Plays sound files with the player of the system."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from magenta_lite.errors import first_line

# Commands that play a file, the preferred one first; the last one opens a window.
PLAYERS = (
    ("afplay",),  # macOS
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("ffplay", "-v", "error", "-nodisp", "-autoexit"),
    ("xdg-open",),
)


def play(paths: Sequence[Path]) -> str:
    """Plays sound files one after the other; returns what is wrong, or ""."""
    player = next((player for player in PLAYERS if shutil.which(player[0])), None)
    if player is None:
        names = ", ".join(name for name, *_ in PLAYERS)
        return f"Nothing plays sound here: none of {names} is installed; open the WAV files"
    for path in paths:
        try:
            done = subprocess.run([*player, str(path)], stderr=subprocess.PIPE, text=True)
        except OSError as error:
            return f"{player[0]} cannot be started: {error.strerror}"
        if done.returncode:
            reason = first_line(Exception(done.stderr.strip() or f"code {done.returncode}"))
            return f"{player[0]} does not play {path}: {reason}"
    return ""
