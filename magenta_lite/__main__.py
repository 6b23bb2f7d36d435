"""All commands by one name: `magenta-lite train …` is `python -m magenta_lite.train …`."""

from __future__ import annotations

import os
import runpy
import sys

from magenta_lite.errors import unknown_name

COMMANDS = {
    "train": "train a model on your music",
    "generate": "make music with a trained model",
    "evaluate": "measure a trained model on held-out music",
    "inspect_data": "see what a folder of music would give",
    "presets": "list the trained models that come with the package",
    "data": "list and remove built data sets",
    "latents": "encode music, draw a map of it, find the direction of an attribute",
    "import_checkpoint": "read a checkpoint of the original code",
    "serve": "answer requests for music over HTTP",
    "export": "write a trained model for other programs",
}


def main() -> int:
    """Runs the command named by the first argument, with the remaining arguments."""
    program, *rest = sys.argv
    if not rest or rest[0] in ("-h", "--help", "help"):
        lines = [f"  {name:<18} {what}" for name, what in COMMANDS.items()]
        try:
            print("\n".join(["Usage: magenta-lite COMMAND --help", "", *lines]), flush=True)
        except BrokenPipeError:  # the reader of the output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if rest else 2
    name = rest[0].replace("-", "_")
    if name not in COMMANDS:
        print(f"Error: {unknown_name('command', rest[0], COMMANDS)}", file=sys.stderr)
        return 2
    sys.argv = [f"{program} {name}", *rest[1:]]
    runpy.run_module(f"magenta_lite.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
