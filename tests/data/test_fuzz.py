"""Fuzz test: whatever the damage, a file is read or refused, soon and within limits of memory."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from fuzzing import outcomes
from mutants import KINDS


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_mutants_of_every_format_are_read_or_refused():
    found = list(outcomes(range(2000)))
    assert not [outcome for outcome in found if outcome.problem]
    assert len(found) == 2000
    counts = Counter((outcome.kind, outcome.is_read) for outcome in found)
    assert all(counts[kind, is_read] >= 5 for kind in KINDS for is_read in (True, False)), counts
    assert not any(b"data.workers" in command for command in _commands_of_children())


def _commands_of_children() -> list[bytes]:
    tasks = Path(f"/proc/{os.getpid()}/task")
    children = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
