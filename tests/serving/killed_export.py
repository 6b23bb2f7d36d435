"""Kills exports before every operation on their files; run by a test as a program.

python killed_export.py FOLDER

What is written is small. Processes are forked, so that nothing is imported again.
"""

import os
import signal
import sys
from pathlib import Path

from magenta_lite.serving.versions import new_version

WRITING = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")  # of sys.audit
WHOLE = {"saved_model.pb": "graph", "variables": None, "variables/data": "weights"}


def export(folder: Path) -> None:
    with new_version(folder, None, "--output") as (partial, _):
        partial.mkdir()
        (partial / "variables").mkdir()
        for name, text in WHOLE.items():
            if text:
                (partial / name).write_text(text)


def killed_at(number: int, folder: Path) -> bool:
    """Exports in a process that is killed before an operation; returns whether it was."""
    child = os.fork()
    if not child:
        left = number

        def count(event, arguments):
            nonlocal left
            if event in WRITING:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        export(folder)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def versions(folder: Path) -> list[int]:
    """Returns the versions that are there, after checking that they are whole."""
    found = [path for path in folder.glob("*") if path.name.isdecimal()]
    for path in found:
        files = {str(inner.relative_to(path)): inner for inner in path.rglob("*")}
        held = {
            name: inner.read_text() if inner.is_file() else None for name, inner in files.items()
        }
        assert held == WHOLE, (path, held)
    return sorted(int(path.name) for path in found)


def main() -> None:
    folder = Path(sys.argv[1])
    number = 0
    while killed_at(number, folder):
        before = versions(folder)
        export(folder)  # whatever was left
        after = versions(folder)
        assert after == [*before, len(before) + 1], (before, after)
        assert not list(folder.glob(".*")), "the next export removes what was left"
        number += 1
    print(number)


if __name__ == "__main__":
    main()
