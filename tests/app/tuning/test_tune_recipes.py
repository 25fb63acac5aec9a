"""Every shipped recipe has a search, and every search makes valid configurations."""

from importlib import resources
from pathlib import Path

import pytest

from epochal.app.config import Config
from epochal.app.config.files import read_config_file, read_yaml
from epochal.app.tuning.space import read_space

RECIPES = Path(str(resources.files("epochal.app.config") / "recipes"))


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_has_a_search(recipe: Path) -> None:
    search = RECIPES / "searches" / recipe.name
    assert read_space(read_yaml(search), str(search), read_config_file(recipe))


@pytest.mark.parametrize(
    "search", sorted((RECIPES / "searches").glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_search_suits_the_defaults(search: Path) -> None:
    base = Config() if "short" not in search.name else read_config_file(RECIPES / search.name)
    assert read_space(read_yaml(search), str(search), base)
