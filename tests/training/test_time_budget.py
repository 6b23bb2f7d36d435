"""How many steps fit into a time, and what becomes of schedules."""

from __future__ import annotations

import dataclasses
import math

import pytest

from magenta_lite.config import get_config, resumed
from magenta_lite.errors import UserError
from magenta_lite.families.music_vae.config import VAEObjective
from magenta_lite.modeling.schedules import WarmUp
from magenta_lite.training.schedules import warmup_steps
from magenta_lite.training.time_budget import (
    ENDING,
    Costs,
    batch_size_for,
    continued,
    fitted,
    plan,
    with_batch_size,
)


def seconds_of(costs: Costs, steps: int, every: int) -> float:
    """Returns how long a run takes."""
    checks = math.ceil(steps / every)
    renewals = 0
    if costs.renewed_every:
        renewals = steps // min(costs.renewed_every, max(steps // 4, 1))
    return (
        costs.first_step
        + steps * costs.step
        + costs.first_check
        + checks * costs.check
        + renewals * costs.renewal
        + ENDING
    )


@pytest.mark.parametrize(
    "costs",
    [
        Costs(first_step=5, step=0.03, first_check=3, check=0.5),
        Costs(first_step=40, step=2.0, first_check=20, check=15),
        Costs(first_step=5, step=0.05, first_check=3, check=0.5, renewal=6, renewed_every=250),
        Costs(first_step=5, step=0.3, first_check=3, check=0.5, renewal=6, renewed_every=1000),
        Costs(first_step=5, step=0.1),
    ],
)
@pytest.mark.parametrize("seconds", [170, 1800])
def test_a_planned_run_takes_the_time_that_there_is(costs, seconds):
    steps, every = plan(costs, seconds, minutes=seconds / 60)
    assert seconds_of(costs, steps, every) == pytest.approx(seconds, rel=0.03)
    assert math.ceil(steps / every) * costs.check <= max(0.2 * seconds, costs.check)


def test_a_run_is_checked_ten_times_or_more_where_that_costs_little():
    steps, every = plan(Costs(first_step=5, step=0.03, first_check=3, check=0.8), 60, 1)
    assert steps / every >= 10


def test_too_short_a_time_is_told_with_one_that_is_long_enough():
    costs = Costs(first_step=40, step=3.0, first_check=20, check=15)
    with pytest.raises(UserError, match=r"--minutes=1 leaves 0 s .* try --minutes=(\d+)") as error:
        plan(costs, 30, minutes=1)
    minutes = int(str(error.value).split("try --minutes=")[1].split(",")[0])
    plan(costs, 60 * minutes - 30, minutes)


def test_schedules_of_a_short_run_fit_into_it():
    config = get_config("cat-mel_2bar")
    short = fitted(config, 1000, 100)
    assert (short.train.steps, short.train.checkpoint_every) == (1000, 100)
    # The KL weight ends where that of the whole run ends, and half are samples at half of the run.
    whole, part = config.objective, short.objective
    assert part.beta_rate**1000 == pytest.approx(whole.beta_rate**200_000)
    assert part.sampling_rate * math.log(part.sampling_rate) == pytest.approx(500, rel=1e-3)
    assert short.train.schedule_steps == 1000
    assert fitted(config, 1000, 100) == fitted(short, 1000, 100)
    assert short.objective == get_config("cat-mel_2bar", ["train.steps=1000"]).objective
    # What the user sets stays.
    kept = fitted(config, 1000, 100, {"objective.beta_rate"}).objective
    assert (kept.beta_rate, kept.sampling_rate) == (whole.beta_rate, part.sampling_rate)


def test_schedules_that_the_user_sets_are_not_scaled():
    given = get_config("cat-mel_2bar", ["train.steps=1000", "objective.sampling_rate=50"])
    assert given.objective.sampling_rate == 50
    assert given.objective.beta(1000) == pytest.approx(
        get_config("cat-mel_2bar").objective.beta(200_000)
    )
    whole = get_config("cat-mel_2bar", ["train.steps=1000", "train.scale_schedules=false"])
    assert whole.objective == get_config("cat-mel_2bar").objective


def test_a_run_keeps_its_schedules_when_its_steps_are_changed():
    run = get_config("cat-mel_2bar", ["train.steps=1000"])
    longer = resumed(get_config("cat-mel_2bar", ["train.steps=3000"]), run)
    assert (longer.objective, longer.train.schedule_steps) == (run.objective, 1000)
    # Runs of versions that scaled nothing go on as they were.
    former = get_config("cat-mel_2bar")
    assert resumed(run, former).objective == former.objective
    given = resumed(longer, former, {"objective.beta_rate"}).objective
    assert (given.beta_rate, given.sampling_rate) == (run.objective.beta_rate, 1000)


def test_schedules_that_are_over_early_stay_and_so_do_those_of_longer_runs():
    config = get_config("cat-mel_2bar")
    # Half are samples at step 6,908 of 200,000.
    assert fitted(config, 50_000, 500).objective.sampling_rate == 1000
    assert fitted(config, 300_000, 500).objective == config.objective
    exponential = VAEObjective(sampling_schedule="exponential", sampling_rate=0.9999)
    shorter = exponential.shortened(1000, 100_000)
    assert 1 - shorter.sampling_rate**500 == pytest.approx(0.5)
    constant = VAEObjective(sampling_rate=0.3)
    assert constant.shortened(10, 1000) == constant


def test_a_critic_is_renewed_four_times_even_in_a_short_run():
    config = get_config("musenet_tiny")
    assert config.objective.critic_every == 250
    assert fitted(config, 400, 40).objective.critic_every == 100


def with_minutes(config, minutes):
    return dataclasses.replace(config, train=dataclasses.replace(config.train, minutes=minutes))


def test_the_same_command_goes_on_with_the_numbers_of_its_run():
    config = with_minutes(get_config("cat-mel_2bar"), 30)
    there = with_batch_size(fitted(config, 1234, 77), 128)
    assert continued(config, there, "runs/x") == there
    given = continued(config, there, "runs/x", ["train.batch_size"])  # which the run refuses
    assert given == with_batch_size(there, 512)


@pytest.mark.parametrize(
    "step, seconds, replicas, micro_batches, expected",
    [
        (0.1, 600, 1, 1, 512),  # 6,000 steps
        (1.0, 600, 1, 1, 128),  # 600 steps, and 2,400
        (9.0, 600, 1, 1, 32),  # 1,066 steps at the smallest
        (9.0, 600, 8, 8, 64),  # which is an example for each part of each replica
        (1.0, 600, 3, 1, 512),  # three replicas cannot share a half of it
    ],
)
def test_batches_become_smaller_where_few_steps_fit(
    step, seconds, replicas, micro_batches, expected
):
    train = dataclasses.replace(get_config("cat-mel_2bar").train, micro_batches=micro_batches)
    costs = Costs(first_step=5, step=step)
    assert batch_size_for(costs, seconds, train, replicas) == expected


def test_small_batches_stay():
    train = get_config("cat-mel_2bar", ["train.batch_size=40"]).train
    assert batch_size_for(Costs(first_step=5, step=9.0), 600, train, 1) == 40


@pytest.mark.parametrize("minutes", [0, 20])
def test_minutes_for_a_run_that_began_otherwise_are_refused(minutes):
    there = with_minutes(get_config("cat-mel_2bar"), minutes)
    with pytest.raises(UserError, match=r"--minutes=30 is for a new run: runs/x began with .*set"):
        continued(with_minutes(there, 30), there, "runs/x")


def test_warm_up_is_at_most_a_tenth_of_the_steps():
    train = get_config("music_transformer", ["train.steps=300"]).train
    assert (train.schedule, train.warmup_steps) == ("noam", 8000)
    assert warmup_steps(train) == 30
    rate = WarmUp(train.learning_rate, "noam", warmup_steps(train), train.steps)
    assert float(rate(30)) == pytest.approx(train.learning_rate)
    assert warmup_steps(get_config("music_transformer").train) == 8000
    rsqrt = get_config("music_transformer_16", ["train.steps=300"]).train  # it does not rise
    assert warmup_steps(rsqrt) == rsqrt.warmup_steps
