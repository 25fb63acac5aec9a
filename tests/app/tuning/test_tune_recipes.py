"""Every shipped recipe has a search, and every search makes valid configurations."""

from importlib import resources
from pathlib import Path

import pytest

from epochal.app.config import Config
from epochal.app.config.files import read_config_file, read_yaml
from epochal.app.tuning.space import read_space

FOLDER = Path(str(resources.files("epochal.app.config") / "recipes"))
RECIPES = sorted(FOLDER.glob("*.yaml"))
SEARCHES = sorted((FOLDER / "searches").glob("*.yaml"))


def test_recipes_and_searches_are_shipped() -> None:
    assert len(SEARCHES) >= len(RECIPES) > 0  # one for each recipe, and general ones


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_has_a_search(recipe: Path) -> None:
    search = FOLDER / "searches" / recipe.name
    assert read_space(read_yaml(search), str(search), read_config_file(recipe))


@pytest.mark.parametrize("search", SEARCHES, ids=lambda path: path.stem)
def test_a_search_suits_the_defaults(search: Path) -> None:
    base = Config()
    if "short" in search.name:
        base = read_config_file(FOLDER / search.name)
    assert read_space(read_yaml(search), str(search), base)
