"""`--original`: the settings of the originals, and trainings with them to the digit."""

import dataclasses
import gzip
import json
from pathlib import Path

import pytest
from original_run import RUNS, losses

from magenta_lite.config import get_config
from magenta_lite.training.schedules import warmup_steps

# Written by original_run.py when all configurations had the settings of the originals.
GOLDEN = Path(__file__).parents[1] / "golden" / "original_settings.json.gz"
RECORDED = json.loads(gzip.decompress(GOLDEN.read_bytes()))
SCALING = ("scale_schedules", "schedule_steps")


@pytest.mark.parametrize("name", RECORDED["sections"])
def test_values_are_those_of_the_original(name):
    config = get_config(name, original=True)
    assert (config.train.scale_schedules, config.train.schedule_steps) == (False, 0)
    for section, recorded in RECORDED["sections"][name].items():
        values = getattr(config, section)
        defaults = {field.name: field.default for field in dataclasses.fields(values)}
        now = json.loads(json.dumps(dataclasses.asdict(values)))
        added = {key: now.pop(key) for key in defaults.keys() - recorded.keys()}
        assert now == recorded
        # What has been added since has the value that changes nothing.
        added = {key: value for key, value in added.items() if key not in SCALING}
        assert added == {key: defaults[key] for key in added}


@pytest.mark.parametrize("name", RUNS)
def test_it_trains_like_the_original_for_twenty_steps(name):
    assert losses(name, original=True) == pytest.approx(RECORDED["losses"][name], rel=1e-4)


def test_schedules_count_the_steps_of_the_original():
    ours = get_config("cat-mel_2bar", ["train.steps=2000"])
    original = get_config("cat-mel_2bar", ["train.steps=2000"], original=True)
    assert ours.objective.beta(2000) > 0.17
    assert original.objective.beta(2000) < 0.004
    assert original.objective == get_config("cat-mel_2bar", original=True).objective
    short = ["train.steps=300"]
    assert warmup_steps(get_config("music_transformer", short).train) == 30
    assert warmup_steps(get_config("music_transformer", short, original=True).train) == 8000


def test_a_configuration_of_a_user_may_leave_its_schedules_alone(tmp_path):
    lines = (
        "import dataclasses",
        "from magenta_lite.config import get_config, register",
        "base = get_config('cat-mel_2bar')",
        "train = dataclasses.replace(base.train, scale_schedules=False)",
        "register('mine')(lambda: dataclasses.replace(base, train=train))",
    )
    path = tmp_path / "mine.py"
    path.write_text("\n".join(lines))
    mine = get_config(f"{path}:mine", ["train.steps=2000"])
    assert mine.objective == get_config("cat-mel_2bar").objective
