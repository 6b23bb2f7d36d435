"""A page that plays samples of a model in a browser, with all that it needs inside of it."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magenta_lite.errors import UserError
from magenta_lite.files import open_regular

if TYPE_CHECKING:
    from magenta_lite.training.run import Run

PAGE = "index.html"
LIBRARY = "magentamusic.js"
TEMPLATE = Path(__file__).with_name("magenta_js_page.html")
# Larger weights stay beside the page: browsers limit the length of a text.
MAX_INSIDE = 2**26
QPM = 120
BARS = 8  # of a continuation
CHORDS = "C G Am F"
ROCK = {0: "x.......x.......", 1: "....x.......x...", 2: "x.x.x.x.x.x.x.x."}  # by drum class


def read_library(path: Path | None) -> str:
    """Returns the library in the file `path`, with which a page needs no other file; or "".

    Raises:
        UserError: If it cannot be read, or is something else.
    """
    if path is None:
        return ""
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--magenta_music={path} cannot be read: {error}") from error
    if "MusicVAE" not in text or "MusicRNN" not in text:
        raise UserError(
            f"--magenta_music={path} is not {LIBRARY} of @magenta/music; npm puts it at "
            f"node_modules/@magenta/music/dist/{LIBRARY}"
        )
    return text


def write_page(folder: Path, run: Run, library: str = "") -> None:
    """Writes the page of an exported model into its folder.

    Args:
        folder: The exported folder, with all other files.
        run: The exported run.
        library: The library, see `read_library`; empty if it will lie beside the page.
    """
    model = _model(run)
    files = sorted(folder.iterdir())
    if sum(file.stat().st_size for file in files) <= MAX_INSIDE:
        model["files"] = {f.name: base64.b64encode(f.read_bytes()).decode() for f in files}
    script = f'<script src="{LIBRARY}"></script>'
    if library:
        script = f"<script>{_inside_script(library)}</script>"
    parts = {
        "title": html.escape(run.config.name),
        "library": script,
        "model": _inside_script(json.dumps(model)),
    }
    first, *rest = TEMPLATE.read_text("utf-8").split("{{")
    filled = [parts[name] + text for name, _, text in (part.partition("}}") for part in rest)]
    (folder / PAGE).write_text("".join([first, *filled]), "utf-8")


def _inside_script(text: str) -> str:
    """Returns JavaScript without what would end its element; it only occurs in strings."""
    return re.sub(r"<(?=/script|!--)", r"<\\", text, flags=re.IGNORECASE)


def _model(run: Run) -> dict[str, Any]:
    """Returns what the page has to know about a model, without its files."""
    converter = run.converter
    steps_per_quarter = converter.config.steps_per_quarter
    tree = {
        "name": run.config.name,
        "stepsPerQuarter": steps_per_quarter,
        "qpm": QPM,
        "temperature": run.config.generate.temperature,
    }
    if run.config.family == "melody_rnn":
        return tree | _of_rnn(run, steps_per_quarter)
    posterior, events = run.model.aggregated_posterior, run.model.events_format
    tree |= {
        "type": "MusicVAE",
        "mean": posterior.mean.numpy().tolist(),
        "deviation": posterior.deviation.numpy().tolist(),
    }
    if events.control == "chords":
        # The library takes one chord for a bar of several tracks.
        tree["chords"] = CHORDS if events.segments == 1 else CHORDS.split()[0]
    if events.control == "hits":
        tree["hits"] = _rock(run.model.length, events.sizes[0], 4 * steps_per_quarter)
    return tree


def _of_rnn(run: Run, steps_per_quarter: int) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    encoding = run.model.encoding
    tree: dict[str, Any] = {
        "type": "MusicRNN",
        "primer": MessageToDict(run.converter.decode(np.array([encoding.start_id]))),
        "steps": BARS * 4 * steps_per_quarter,
    }
    return tree | ({"chords": CHORDS} if encoding.chords else {})


def _rock(steps: int, classes: int, bar: int) -> list[list[float]]:
    """Returns a rock beat as hits (T, D); bars have `bar` steps."""
    hits = np.zeros((steps, classes))
    for drum, pattern in ROCK.items():
        for step in range(steps):
            hits[step, drum] = pattern[step % bar * 16 // bar] == "x"
    return hits.tolist()
