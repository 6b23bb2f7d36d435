"""Writes docs/listen.md: four pieces of each preset, as pictures and sound.

python scripts/listen.py

The seed is fixed, and the first four outputs are taken as they come: none is chosen by ear. Of
each, docs/listen has a picture, and at most 150 kB of sound as OGG.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from magenta_lite import presets
from magenta_lite.converters.audio import Audio
from magenta_lite.data.audio import write_audio
from magenta_lite.shell import command

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "listen"
SEED, PIECES = 1, 4
MOST_BYTES = 150_000
SECONDS = 20.0  # of each piece at most; longer sound is faded out
FADE = 0.5  # seconds
HEAD = """# Listen to the presets

The first four pieces of each preset with `--seed=1`, written by `python scripts/listen.py`. Long
pieces are faded out.
"""


def pieces_of(name: str) -> str:
    """Writes the pieces of a preset, and returns its part of the page."""
    folder = presets.folder_of(name)
    preset = presets.checked(folder)
    flags = [f for f in presets.try_flags(folder, preset) if not f.startswith("--num_outputs=")]
    flags += [f"--num_outputs={PIECES}", f"--seed={SEED}"]
    with tempfile.TemporaryDirectory() as written:
        line = [sys.executable, "-m", "magenta_lite.generate", f"--preset={name}", *flags]
        done = subprocess.run(
            [*line, f"--output_dir={written}"], check=True, stdout=subprocess.PIPE, text=True
        )
        paths = [Path(path) for path in done.stdout.splitlines()]
        sounds = [path for path in paths if path.suffix == ".wav" and "-input" not in path.name]
        links = [
            f"[{i}]({shortened(path, FOLDER / f'{name}-{i}.ogg').relative_to(DOCS)})"
            for i, path in enumerate(sounds, start=1)
        ]
        picture = next((path for path in paths if path.stem.endswith("-overview")), paths[-1])
        (FOLDER / f"{name}.png").write_bytes(picture.read_bytes())
    shown = [flag.replace(f"{folder}/", "") for flag in flags]
    return "\n".join(
        [
            f"## {name}",
            "",
            f"It {preset.about}: {', '.join(links)}.",
            "",
            f"```bash\n{command('generate', f'--preset={name}', *shown)}\n```",
            "",
            f"![Four pieces of {name}](listen/{name}.png)",
            "",
        ]
    )


def shortened(wav: Path, ogg: Path) -> Path:
    """Writes the beginning of a WAV file as OGG of at most `MOST_BYTES`; returns its path."""
    samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    seconds = min(SECONDS, len(samples) / rate)
    mono = samples.mean(axis=1, keepdims=True)
    while True:
        part = mono[: round(seconds * rate)].copy()
        if len(part) < len(mono):
            fade = round(FADE * rate)
            part[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
        write_audio(ogg, Audio(part, rate))
        if ogg.stat().st_size <= MOST_BYTES:
            return ogg
        seconds *= 0.8


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    parts = [pieces_of(name) for name in presets.names()]
    (DOCS / "listen.md").write_text("\n".join([HEAD, *parts]), encoding="utf-8")
    print(f"Wrote {DOCS / 'listen.md'}")


if __name__ == "__main__":
    main()
