"""The numbers of a trained model on held-out music, with those of baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magenta_lite.evaluation import chorales, samples
from magenta_lite.modeling.examples import Examples

if TYPE_CHECKING:
    from magenta_lite.training.run import Run


def numbers(run: Run, examples: Examples, collection: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics of a model, which `meanings` explains.

    Args:
        run: The model.
        examples: Held-out examples.
        collection: The data that they are from, with `split(name) -> Examples`.
        seed: Seed of the posterior noise and of sampling.
    """
    measured = run.model.measure(examples, seed) | run.model.measure_gaps(examples, seed)
    temperature = run.config.generate.temperature
    drawn = run.model.samples(run.converter, examples, temperature, seed)
    if drawn is not None:
        return measured | samples.compared(drawn, examples, collection, run.config, run.converter)
    if run.config.converter.kind in samples.TOKEN_KINDS:
        measured |= samples.baseline(examples, collection, run.config, run.converter)
    if run.config.converter.kind == "chorale":
        measured |= chorales.compared(run, examples, seed)
    return measured


def meanings(run: Run) -> dict[str, str]:
    """Returns a description of each metric, by its name."""
    return {**run.model.metric_meanings, **samples.MEANINGS, **chorales.MEANINGS}
