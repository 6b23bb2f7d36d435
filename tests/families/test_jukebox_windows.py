"""Pieces longer than a context: recorded plans of windows, and a prior and an upsampler at work."""

import functools
import json
import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from jukebox_golden import GOLDEN, config_of, model_of, split

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox import sampling
from magenta_lite.families.jukebox.config import JukeboxPriorConfig
from magenta_lite.families.jukebox.labels import PieceLabels
from magenta_lite.families.jukebox.windows import Window, plan_windows, window_starts
from magenta_lite.modeling.sampling import Sampler

CASES = json.loads((GOLDEN / "data" / "cases.json").read_text())
GREEDY = Sampler(temperature=1e-5)
HOP = 16
# Compiling takes longer than what these small models do.
write_level = functools.partial(sampling.write_level, compiled=False)


def test_windows_start_where_recorded():
    cases = [case for case in CASES["get_starts"] if case["total_length"] >= case["n_ctx"]]
    assert len(cases) > 20
    for case in cases:
        starts = window_starts(case["total_length"], case["n_ctx"], case["hop"])
        assert starts == case["starts"]


def test_windows_write_what_is_recorded():
    """The original is told how many codes to add if a piece is shorter than a context."""
    same = 0
    for case in CASES["sample_level"]:
        context, done = case["n_ctx"], case["already"]
        total = case["total_length"]
        total += done if total < context else 0
        if case["total_length"] < context < total:
            continue  # then it moves one window, and forgets more than it must
        windows = plan_windows(total, context, case["hop"], done)
        assert [[w.given, w.stop - w.start] for w in windows] == case["calls"]
        assert (windows[-1].stop if windows else done) == case["final_length"] == total
        same += 1
    assert same == 14


@pytest.mark.parametrize(
    ("total", "hop", "ratio"), [(100, 12, 4), (32, 8, 4), (20, 4, 2), (33, 5, 1)]
)
def test_every_code_is_written_once_from_as_many_as_there_are(total, hop, ratio):
    done = 0
    for window in plan_windows(total, 32, hop, 0, ratio):
        assert window.start + window.given == done
        assert window.start % ratio == 0
        assert window.stop - window.start <= 32
        done = window.stop
    assert done == total
    assert plan_windows(total, 32, hop, total, ratio) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((100, 32, 0), "A hop of 0 codes must be 1 to the 32 codes of a context"),
        ((100, 32, 33), "A hop of 33 codes"),
        ((100, 32, 6, 0, 4), "A hop of 6 codes, a context of 32 and a length of 100 must be mult"),
        ((98, 32, 8, 0, 4), "multiples of 4, the codes per code of the level above"),
    ],
)
def test_windows_that_leave_codes_out_are_refused(arguments, words):
    with pytest.raises(UserError) as error:
        plan_windows(*arguments)
    assert words in str(error.value)


# A prior and an upsampler ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline():
    """Returns recorded codes and windows, the models by level, and the labels of a window."""
    facts = json.loads((GOLDEN / "prior" / "pipeline.json").read_text())
    arrays = np.load(GOLDEN / "prior" / "pipeline.npz")
    models, labels = [], []
    pieces = [
        PieceLabels(int(y[0]), int(y[1]), int(y[3]), tuple(int(g) for g in y[4:] if g >= 0))
        for y in arrays["y"]
    ]

    def labels_for(sizes):
        return lambda start: np.stack([piece.vector(sizes, start) for piece in pieces])

    for level in (0, 1):
        of_level = {"hparams": facts[f"level_{level}"], "labels_hparams": facts["labels"]}
        of_level |= {"bins": 16, "cond_downsample": 2, "raw_to_tokens": (4, 8)[level]}
        state = split(arrays[f"weights_{level}"], facts[f"shapes_{level}"])
        models.append(model_of(config_of(of_level), state))
        labels.append(labels_for(models[-1].sizes))
    return arrays, facts["windows"], models, labels


def test_a_piece_is_written_in_the_recorded_windows(pipeline):
    """From nothing, from a prompt, and when it was interrupted."""
    arrays, recorded, (upsampler, prior), (finer, coarser) = pipeline
    nothing = np.zeros((2, 0), int)
    prompts = arrays["primed/prompt_z1"], arrays["primed/prompt_z0"]
    for name, (top, bottom) in (("ancestral", (nothing, nothing)), ("primed", prompts)):
        log = Log()
        top = write_level(
            prior, top, 56, HOP, 0, GREEDY, coarser, after_window=log.of_level(1, coarser)
        )
        np.testing.assert_array_equal(top, arrays[f"{name}/z1"])
        bottom = write_level(
            upsampler, bottom, 112, HOP, 0, GREEDY, finer, top, after_window=log.of_level(0, finer)
        )
        np.testing.assert_array_equal(bottom, arrays[f"{name}/z0"])
        # The original also visits windows in which there is nothing left to write.
        wanted = [
            {key: window[key] for key in ("level", "start", "y", "has")}
            for window in recorded[name]
            if window["has"] > window["had"]
        ]
        assert log.windows == wanted
    again = write_level(upsampler, log.codes[-3], 112, HOP, 0, GREEDY, finer, top)
    np.testing.assert_array_equal(again, bottom)


class Log:
    """Keeps what is told after each window."""

    def __init__(self):
        self.windows, self.codes = [], []

    def of_level(self, level, labels_at):
        def after(codes, window):
            self.codes.append(codes)
            y = labels_at(window.start)[0].tolist()
            facts = {"level": level, "start": window.start, "y": y, "has": window.stop}
            self.windows.append(facts)

        return after


def test_a_piece_shorter_than_a_context_has_the_length_asked_for(pipeline):
    arrays, _, (_, prior), (_, coarser) = pipeline
    codes = write_level(prior, np.zeros((2, 0), int), 20, HOP, 0, GREEDY, coarser)
    np.testing.assert_array_equal(codes, arrays["partial/z1"])
    # The original adds 20 codes to 6; here one says that there are to be 26.
    prompt = arrays["partial_prompt/prompt_z1"]
    codes = write_level(prior, prompt, 26, HOP, 0, GREEDY, coarser)
    np.testing.assert_array_equal(codes, arrays["partial_prompt/z1"])


def test_draws_do_not_depend_on_how_many_rows_go_at_once():
    keras.utils.set_random_seed(2)
    sizes = {"codes": 8, "context": 8, "width": 8, "depth": 1, "blocks": 2, "initial_scale": 20}
    model, nothing = model_of(JukeboxPriorConfig(**sizes)), np.zeros((3, 0), int)
    together = write_level(model, nothing, 19, 4, seed=5)
    single = write_level(model, nothing, 19, 4, seed=5, rows_at_once=2)
    np.testing.assert_array_equal(together, single)
    other = write_level(model, nothing, 19, 4, seed=6)
    assert together.shape == (3, 19) and (together != other).mean() > 0.5
    assert plan_windows(19, 8, 4)[2:] == [Window(8, 4, 16), Window(11, 5, 19)]


def test_too_few_codes_above_are_told(pipeline):
    _, _, (upsampler, _), (finer, _) = pipeline
    nothing = np.zeros((2, 0), int)
    with pytest.raises(UserError) as error:
        write_level(upsampler, nothing, 20, 16, labels_at=finer, above=np.zeros((2, 10), int))
    assert "20 codes need 16 codes of the level above, there are 10" in str(error.value)


def test_only_the_same_request_to_the_same_models_goes_on(tmp_path, capsys):
    from magenta_lite.families.jukebox.generation import Piece
    from magenta_lite.families.jukebox.options import JukeboxOptions
    from magenta_lite.unfinished import Unfinished

    def begun(weights="one", seed=7, given=False, **changes):
        left = Unfinished(tmp_path, "run-sample", seed, given)
        request = JukeboxOptions(num_outputs=2, seed=seed, unfinished=left)
        request = replace(request, **changes)
        return Piece(request, [weights], [1], {1: np.zeros((2, 0), np.int32)}), left

    first, kept = begun()
    first.keep(1, np.ones((2, 5), np.int32))
    assert kept.path == tmp_path / "run-sample-seed7.codes.npz"
    # While one is at work, the same command makes another piece.
    beside, other = begun(seed=8)
    assert beside.codes[1].shape == (2, 0) and beside.seed == 8
    os.close(kept._lock._file)  # as when a process is killed
    again, held = begun(seed=9)
    np.testing.assert_array_equal(again.codes[1], np.ones((2, 5)))
    assert again.seed == held.seed == 7
    assert "seed 7" in capsys.readouterr().err
    os.close(held._lock._file)
    for changes in (
        {"weights": "other"},
        {"temperature": 0.5},
        {"genre": "x"},
        {"total_seconds": 3.0},
        {"seed": 9, "given": True},
    ):
        fresh, new = begun(**{"seed": 7} | changes)
        assert fresh.codes[1].shape == (2, 0) and fresh.seed == changes.get("seed", 7)
        assert new.path != kept.path
        new.remove()
    same, given = begun(seed=7, given=True)
    assert same.codes[1].shape == (2, 5)
    given.remove()
    other.remove()
    assert not list(tmp_path.iterdir())
