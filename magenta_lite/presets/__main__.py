"""The trained models that come with the package.

python -m magenta_lite.presets
python -m magenta_lite.generate --preset=NAME

Each is described in full by the file CARD.md in its folder, whose path is printed.
"""

from __future__ import annotations

from magenta_lite import cli, presets
from magenta_lite.errors import UserError
from magenta_lite.files import printable
from magenta_lite.shell import command


def main() -> None:
    names = presets.names()
    if not names:
        print(
            "This installation has no presets. Train a model: "
            f"{command('train', '--config=cat-mel_2bar_tiny')}"
        )
        return
    for name in names:
        print(name)
        for line in _lines(name):
            print(f"    {line}")
    print(f"Their cards: {presets.FOLDER}/NAME/{presets.CARD}")


def _lines(name: str) -> list[str]:
    """Returns what the list says of a preset."""
    folder = presets.folder_of(name)
    try:
        preset = presets.checked(folder)
    except UserError as error:
        return [f"cannot be used: {error}"]
    size = presets.size_of(folder) / 1e6
    lines = [
        preset.about,
        f"{preset.model}, {preset.weights:,} weights, {size:.1f} MB ({preset.dtype})",
        f"trained on {preset.data} ({preset.licence})",
        command("generate", f"--preset={name}", *presets.try_flags(folder, preset)),
    ]
    return [printable(line) for line in lines]


if __name__ == "__main__":
    cli.run(main)
