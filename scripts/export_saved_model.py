"""Writes the SavedModels of one or more finished runs, one after the other.

python scripts/export_saved_model.py --output_dir=exported runs/cat-mel_2bar runs/mine

Each becomes a version, OUTPUT_DIR/NAME_OF_RUN/1 or the next number; `python -m magenta_lite.export`
does the same for one run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dirs", nargs="+", type=Path)
    parser.add_argument("--output_dir", type=Path, required=True)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "magenta_lite.export"]
    codes = [
        subprocess.run(
            [*command, f"--run_dir={run}", f"--output={arguments.output_dir / run.name}"]
        )
        for run in arguments.run_dirs
    ]
    return max(done.returncode for done in codes)


if __name__ == "__main__":
    sys.exit(main())
