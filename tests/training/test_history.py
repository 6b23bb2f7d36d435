"""Which validation was best, what it is compared by, and when patience ends."""

from __future__ import annotations

import json
import math

import pytest
from small_run import small_config

from magenta_lite.config import get_config
from magenta_lite.training.history import History, Validation, comparable_loss


def history(*losses: float) -> History:
    """Returns a history of validations at steps 10, 20, …"""
    pairs = enumerate(losses, start=1)
    return History(get_config("attention_rnn_tiny"), [Validation(10 * i, x) for i, x in pairs])


def test_of_equals_the_first_is_best_and_what_is_not_finite_never():
    assert history(math.nan, 3.0, 1.5, 1.5, math.inf).best == Validation(30, 1.5)
    assert history(math.nan).best is None
    assert history().best is None


@pytest.mark.parametrize(
    ("losses", "since", "words"),
    [
        ((), 0, ""),
        ((2.0, 1.0), 0, ""),
        ((1.0, 2.0), 1, "validation was best at step 10 and has risen since"),
        ((2.0, 1.0, 1.0, 3.0), 2, "validation was best at step 20 and has risen since"),
    ],
)
def test_a_rise_is_counted_and_told(losses, since, words):
    assert history(*losses).since_best == since
    assert history(*losses).risen() == words


def test_patience_ends_after_so_many_validations_that_are_not_better():
    losses = history(2.0, 1.0, 1.2, 1.1)
    assert losses.out_of_patience(2)
    assert not losses.out_of_patience(3)
    assert not losses.out_of_patience(0)
    assert not history().out_of_patience(1)


@pytest.mark.parametrize(
    ("losses", "steps", "used"),
    [
        ((2.0, 1.0, 3.0), [20, 30], 20),
        ((2.0, 1.0, 3.0), [30], 30),  # the best one is gone
        ((2.0, 1.0), [10, 20, 27], 27),  # a newer one that was never validated
        ((1.0, 2.0), [10, 20, 27], 10),
        ((), [10, 20], 20),
        ((1.0,), [], None),
    ],
)
def test_the_checkpoint_to_use_is_the_best_or_a_newer_one_that_nothing_speaks_against(
    losses, steps, used
):
    assert history(*losses).step_to_use(steps) == used


def test_metrics_are_read_up_to_a_step_and_without_the_cut_line_of_a_killed_run(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "loss": 1.0, "val_loss": 9.0 - step} for step in (1, 2, 3)]
    lines.insert(1, {"step": 1.5, "loss": 1.0})  # an interval without validation
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "val_l')
    config = get_config("attention_rnn_tiny")
    assert History.read(config, metrics, 2).validations == [Validation(1, 8.0), Validation(2, 7.0)]
    assert [each.step for each in History.read(config, metrics).validations] == [1, 2, 3]
    assert History.read(config, tmp_path / "none.jsonl").validations == []


def test_music_vaes_are_compared_with_the_kl_weight_of_the_last_step():
    config = small_config(
        "objective.max_beta=0.5", "objective.beta_rate=0.9", "objective.free_bits=10"
    )
    measured = {"val_loss": 1.0, "val_reconstruction_nll": 30.0, "val_kl": 20.0}
    beta = 0.5 * (1 - 0.9**config.train.steps)
    expected = 30 + beta * (20 - 10 * math.log(2))
    assert comparable_loss(config, measured) == pytest.approx(expected)
    assert comparable_loss(config, measured | {"val_kl": 2.0}) == pytest.approx(30)
    assert comparable_loss(config, {"loss": 1.0}) is None


def test_vqvaes_are_compared_without_what_depends_on_the_scale_of_their_codes():
    config = get_config("vqvae_tiny")
    measured = {"val_loss": 3.0, "val_commitment": 10.0}
    assert comparable_loss(config, measured) == pytest.approx(3 - 10 * config.objective.commitment)
