"""The recipes of presets: their configurations exist, and the models fit into the package."""

import sys
from pathlib import Path

import pytest

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import count_weights

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from preset_recipes import RECIPES

LARGEST, LARGEST_TOGETHER = 9_500_000, 39_500_000  # bytes in float16, without cards and configs


def config_of(recipe):
    return get_config(recipe.config, [f"{key}={value}" for key, value in recipe.settings.items()])


@pytest.fixture(scope="module")
def sizes():
    configs = {name: config_of(recipe) for name, recipe in RECIPES.items()}
    return {
        name: 2 * count_weights(config, build_converter(config.converter))
        for name, config in configs.items()
    }


def test_all_presets_fit_into_the_package(sizes):
    assert max(sizes.values()) <= LARGEST, sizes
    assert sum(sizes.values()) <= LARGEST_TOGETHER, sizes


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_whole(name):
    recipe = RECIPES[name]
    config = config_of(recipe)
    assert recipe.about and recipe.data.music and recipe.data.licence and recipe.weaknesses
    assert config.train.steps == recipe.steps
    assert bool(recipe.input_flags) == any("{example}" in flag for flag in recipe.flags)
    assert build_converter(config.converter).check_programs(config.generate.programs) is None
