"""Writes docs/presets.md: what the presets of the package reach on held-out music.

python scripts/preset_numbers.py [--data=NAME:SOURCE ...]

Every number is one of `python -m magenta_lite.evaluate --preset=NAME`. `--data` names a copy of a
preset's data, e.g. --data=drum_kit:groove_midi:PATH.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from magenta_lite import presets
from magenta_lite.errors import UserError

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
HEAD = """# Presets

Trained models that come with the package. The numbers are those of
`python -m magenta_lite.evaluate --preset=NAME`, written here by `python scripts/preset_numbers.py`.
Each preset's folder has a card, `CARD.md`, with its training, its memorization, and what it is bad
at.
"""
LEFT_OUT = ("step", "data")  # of the results of `evaluate`, which are no metrics


def measured(name: str, data: str | None) -> dict[str, float]:
    """Returns the numbers of a preset."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "numbers.json"
        command = [sys.executable, "-m", "magenta_lite.evaluate", f"--preset={name}"]
        command += [f"--output={output}", *([f"--data={data}"] if data else [])]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return json.loads(output.read_text())


def section(name: str, numbers: dict[str, float]) -> str:
    """Returns the part of the page about a preset."""
    folder = presets.folder_of(name)
    preset, size = presets.checked(folder), presets.size_of(folder) / 1e6
    rows = [
        f"| `{metric}` | {f'{value:,}' if isinstance(value, int) else f'{value:.4f}'} |"
        for metric, value in numbers.items()
        if metric not in LEFT_OUT
    ]
    return "\n".join(
        [
            f"## {name}",
            "",
            f"It {preset.about}. `{preset.model}`, {preset.weights:,} weights, {size:.1f} MB, step "
            f"{preset.step:,}. Trained on {preset.data}; {preset.licence}.",
            "",
            "| metric | held-out music |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", default=[], help="NAME:SOURCE, repeatable")
    arguments, names = parser.parse_args(), presets.names()
    if not names:
        raise UserError(f"{presets.FOLDER} has no presets; see scripts/train_presets.py")
    copies = {}
    for text in arguments.data:
        name, _, copies[name] = text.partition(":")
        presets.folder_of(name)  # raises if there is none
    parts = [section(name, measured(name, copies.get(name))) for name in names]
    PAGE.write_text("\n".join([HEAD, *parts]), encoding="utf-8")
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    try:
        main()
    except (UserError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
