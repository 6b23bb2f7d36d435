"""Writes docs/listen.md: four pieces of each preset, as pictures and sound.

python scripts/listen.py

The seed is fixed, and the first four outputs are taken as they come: none is chosen by ear. A
preset that changes an input has one. In docs/listen each preset has a picture, and each piece at
most 150 kB of sound as OGG.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from magenta_lite import presets
from magenta_lite.converters.audio import Audio
from magenta_lite.data.audio import write_audio
from magenta_lite.errors import UserError
from magenta_lite.files import replaced
from magenta_lite.shell import command

ROOT = Path(__file__).parents[1]
PAGE, FOLDER = ROOT / "docs" / "listen.md", ROOT / "docs" / "listen"
SEED, PIECES = 1, 4
MOST_BYTES = 150_000
SECONDS = 20.0  # of each piece at most; longer sound is faded out
FADE = 0.5  # seconds
HEAD = """# Listen to the presets

The first four pieces of each preset with `--seed=1`, or one that it makes of an input, written by
`python scripts/listen.py`. Long pieces are faded out.
"""


def pieces_of(name: str, output: Path) -> str:
    """Writes the pieces of a preset to the folder `output`, and returns its part of the page."""
    folder = presets.folder_of(name)
    preset = presets.checked(folder)
    flags = [*presets.try_flags(folder, preset), f"--seed={SEED}"]
    if not preset.example:
        flags.append(f"--num_outputs={PIECES}")
    with tempfile.TemporaryDirectory() as written:
        line = [sys.executable, "-m", "magenta_lite.generate", f"--preset={name}", *flags]
        done = subprocess.run(
            [*line, f"--output_dir={written}"], check=True, stdout=subprocess.PIPE, text=True
        )
        paths = [Path(path) for path in done.stdout.splitlines()]
        sounds = [path for path in paths if path.suffix == ".wav" and "-input" not in path.name]
        oggs = [f"{name}-{i}.ogg" for i in range(1, len(sounds) + 1)]
        for sound, ogg in zip(sounds, oggs, strict=True):
            shorten(sound, output / ogg)
        picture = next((path for path in paths if path.stem.endswith("-overview")), paths[-1])
        shutil.copyfile(picture, output / f"{name}.png")
    links = [f"[{i}](listen/{ogg})" for i, ogg in enumerate(oggs, start=1)]
    shown = [flag.replace(f"{ROOT}/", "") for flag in flags]
    return "\n".join(
        [
            f"## {name}",
            "",
            f"It {preset.about}: {', '.join(links)}.",
            "",
            f"```bash\n{command('generate', f'--preset={name}', *shown)}\n```",
            "",
            f"![Piano rolls of {name}](listen/{name}.png)",
            "",
        ]
    )


def shorten(wav: Path, ogg: Path) -> None:
    """Writes the beginning of a WAV file as mono OGG of at most `MOST_BYTES`."""
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
            return
        seconds *= 0.8


def main() -> None:
    names = presets.names()
    if not names:
        raise UserError(f"{presets.FOLDER} has no presets; see scripts/train_presets.py")
    with replaced(FOLDER) as partial:
        partial.mkdir()
        parts = [pieces_of(name, partial) for name in names]
        shutil.rmtree(FOLDER, ignore_errors=True)  # with the sound of former presets
    PAGE.write_text("\n".join([HEAD, *parts]), encoding="utf-8")
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    try:
        main()
    except (UserError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
