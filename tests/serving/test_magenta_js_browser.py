"""Exported models in headless Chromium with magenta-js, compared with ours, and their pages.

All models run in one page, and one test compares all of them: starting the browser, loading the
library and compiling our models take the most time.
"""

import json
import shutil
import urllib.parse
from pathlib import Path

import magenta_js_models
import numpy as np
import pytest
from browser import CHROMIUM, node_package, result_of

from magenta_lite.serving.magenta_js import export_magenta_js

LIBRARY = node_package("@magenta/music/dist/magentamusic.js")
PAGES = Path(__file__).with_name("magenta_js_pages.html")
PAGE = Path(__file__).with_name("magenta_js_models.html")
# Not encoded and decoded otherwise than others here.
LEFT_OUT = ("full_nade", "mono_rnn")
HITS = (1, 0, 0, 1, 1, 0, 0, 0)
DRUMS_PAGE = """<!doctype html>
<meta charset="utf-8">
<script src="magentamusic.js"></script>
<script>
  const [types, hits] = %s;
  const note = (step) =>
      ({pitch: 36, isDrum: true, quantizedStartStep: step, quantizedEndStep: step + 1});
  const notes = hits.flatMap((isHit, step) => isHit ? [note(step)] : []);
  const music = {notes, quantizationInfo: {stepsPerQuarter: 4}, totalQuantizedSteps: hits.length};
  const args = {numSteps: hits.length, pitchClasses: [[36]]};
  const rowsOf = (type) => mm.data.converterFromSpec({type, args}).toTensor(music).array();
  Promise.all(types.map(rowsOf))
      .then((found) => fetch('found', {method: 'POST', body: JSON.stringify(found)}));
</script>
"""

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and LIBRARY),
    reason="needs Chromium, and @magenta/music of npm in a folder of NODE_PATH",
)


@pytest.mark.slow
def test_every_model_gives_there_what_it_gives_here(tmp_path):
    runs = {
        name: magenta_js_models.random_run(name)
        for name in magenta_js_models.MODELS
        if name not in LEFT_OUT
    }
    cases, expected = [], {}
    for name, run in runs.items():
        export_magenta_js(run, tmp_path / name)
        given, expected[name] = magenta_js_models.case_of(name, run)
        cases.append(given)
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    shutil.copy(LIBRARY, tmp_path)
    shutil.copy(PAGE, tmp_path)
    found = result_of(tmp_path, PAGE.name)

    problems = {}
    for name, run in runs.items():
        try:
            check(run, found["results"][name], expected[name])
        except AssertionError as error:
            problems[name] = str(error)
    assert not problems, "\n".join(f"{name}: {error}" for name, error in problems.items())

    hosts = {urllib.parse.urlsplit(request).netloc for request in found["requests"]}
    assert len(hosts) == 1 and hosts.pop().startswith("127.0.0.1:")
    assert len(found["requests"]) > 3 * len(runs)  # config, manifest and a shard of each


def check(run, actual, expected):
    """Compares what the page and the model gave."""
    assert "error" not in actual, actual["error"]
    if run.config.family == "melody_rnn":
        check_continuation(run, actual, expected)
        return
    check_events(run.model.events_format, np.array(actual["events"]), expected)
    np.testing.assert_allclose(actual["mu"], expected["mu"], atol=1e-4)
    assert np.abs(expected["mu"]).max() > 0.1
    assert min(actual["samples"]) > 0  # notes


def check_events(format, theirs, expected):
    """Compares decoded events in every step."""
    ours = expected["events"]
    assert len(ours) == magenta_js_models.ROWS
    assert len(np.unique(ours)) > 1 and len(np.unique(ours, axis=0)) == len(ours)
    if format.kind == "groove":
        size = format.sizes[0]
        np.testing.assert_array_equal(theirs[..., :size], ours[..., :size])
        # Velocities and offsets are what the decoder reads: ours are those of hits only.
        np.testing.assert_allclose(theirs, expected["fed"], atol=1e-4)
        return
    if format.kind != "roll":
        parts = np.split(theirs, np.cumsum(format.sizes)[:-1], axis=-1)
        theirs = np.stack([part.argmax(axis=-1) for part in parts], axis=-1)
    np.testing.assert_array_equal(theirs.reshape(ours.shape), ours)


def check_continuation(run, actual, expected):
    """Compares the probabilities of each step, and the notes."""
    np.testing.assert_allclose(actual["probabilities"], expected["probabilities"], atol=1e-4)
    steps = 2 * run.converter.config.steps_per_quarter  # a second at 120 quarters a minute
    ours = [
        [note.pitch, round(note.start_time * steps), round(note.end_time * steps)]
        for note in expected["music"].notes
    ]
    assert len(ours) > 10
    assert sorted(actual["notes"]) == sorted(ours)


def test_the_pages_make_show_save_and_play_music(tmp_path):
    for name in ("melody", "basic_rnn", "tracks_with_chords"):
        run = magenta_js_models.random_run(name)
        export_magenta_js(run, tmp_path / name, "uint8", LIBRARY)
    export_magenta_js(magenta_js_models.random_run("melody"), tmp_path / "without_library")
    shutil.copy(PAGES, tmp_path)
    pages = ["melody", "basic_rnn", "tracks_with_chords", "without_library"]
    found = result_of(tmp_path, f"{PAGES.name}?{'&'.join(pages)}", timeout=240)

    missing = found.pop("without_library")["status"]
    assert missing == "Error: magentamusic.js of @magenta/music is missing; put it beside this page"
    for name, page in found.items():
        assert page["status"] == "4 pieces", (name, page)
        assert len(page["notes"]) == 4 and max(page["notes"]) > 1, page
        assert page["file"].endswith("-1.mid") and page["start"] == "MThd"
        assert page["played"]
        assert page["requests"] == []  # all is inside of the page


def test_the_library_marks_silent_steps_of_drums_one_step_early(tmp_path):
    """As docs/export.md says of what `encode` reads."""
    types = ("DrumsConverter", "DrumRollConverter", "DrumsOneHotConverter")
    shutil.copy(LIBRARY, tmp_path)
    (tmp_path / "drums.html").write_text(DRUMS_PAGE % json.dumps([types, HITS]))
    *rolls, one_hot = (np.array(rows) for rows in result_of(tmp_path, "drums.html"))
    silent = 1 - np.array(HITS)
    for roll in rolls:
        np.testing.assert_array_equal(roll[:, 0], HITS)
        np.testing.assert_array_equal(roll[:, 1], np.append(silent[1:], 0))
    np.testing.assert_array_equal(one_hot, np.stack([silent, HITS], axis=1))
