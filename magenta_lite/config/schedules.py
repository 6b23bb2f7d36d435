"""What a config has from another run, or for another number of steps: schedules, vocabulary."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from magenta_lite.config.sections import ExperimentConfig
from magenta_lite.config.values import VOCABULARY_FIELDS


def scaled(
    config: ExperimentConfig, steps: int, planned: int, given: Collection[str] = ()
) -> ExperimentConfig:
    """Returns a config whose objective's schedules are scaled to a shorter run.

    Args:
        config: A config for `planned` steps.
        steps: Number of steps of the run.
        planned: Number of steps that the schedules are meant for.
        given: Keys that the user sets, e.g. `objective.beta_rate`, which keep their values.
    """
    if not config.train.scale_schedules or steps >= planned:
        return config
    short = config.objective.shortened(steps, planned)
    if short == config.objective:
        return config
    return _with_schedules(config, short, steps, given)


def resumed(
    config: ExperimentConfig, there: ExperimentConfig, given: Collection[str] = ()
) -> ExperimentConfig:
    """Returns the config of a command that resumes a run, with its schedules and its precision.

    They stay when the number of steps is changed. The run, of config `there`, may be that of a
    version that did not scale them. `given` are keys as of `scaled`.
    """
    if config.train.precision == "auto":
        train = dataclasses.replace(config.train, precision=there.train.precision)
        config = dataclasses.replace(config, train=train)
    if type(there.objective) is not type(config.objective):
        return config
    return _with_schedules(config, there.objective, there.train.schedule_steps, given)


def fine_tuned(
    config: ExperimentConfig, source: ExperimentConfig, step: int, given: Collection[str] = ()
) -> ExperimentConfig:
    """Returns the config of a run that fine-tunes the weights of another run.

    It has the other run's vocabulary, and goes on with its schedules.

    Args:
        config: The config of the new run.
        source: The config of the other run.
        step: The step of its weights.
        given: As of `scaled`.
    """
    if type(source.converter) is type(config.converter):
        fields = VOCABULARY_FIELDS.get(config.converter.kind, ())
        kept = {name: getattr(source.converter, name) for name in fields}
        kept = {name: value for name, value in kept.items() if f"converter.{name}" not in given}
        config = dataclasses.replace(
            config, converter=dataclasses.replace(config.converter, **kept)
        )
    same = type(source.objective) is type(config.objective)
    if not same or not config.train.scale_schedules:
        return config
    objective = config.objective.continuing(source.objective, step)
    return _with_schedules(config, objective, 0, given)


def _with_schedules(config, source, steps, given):
    """Returns a config with the schedules of the objective `source`, scaled to `steps` steps."""
    names = [name for name in source.scheduled if f"objective.{name}" not in given]
    values = {name: getattr(source, name) for name in names}
    return dataclasses.replace(
        config,
        objective=dataclasses.replace(config.objective, **values),
        train=dataclasses.replace(config.train, schedule_steps=steps),
    )
