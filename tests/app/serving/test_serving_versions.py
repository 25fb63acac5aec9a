"""Versions of a model: what is looked at, loaded, let go, without a server and without a model."""

import asyncio
import shutil
from pathlib import Path

import pytest

from epochal.app.serving.loaded_model import LoadedModel
from epochal.app.serving.versions import NotReady, ServedVersion, Versions
from tests.support.messages import heard


def add_version(folder: Path, number: int) -> None:
    """Make a version that is complete to the eye."""
    version = folder / str(number)
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()


def load_nothing(folder: Path, *, trust: bool) -> LoadedModel:
    return LoadedModel(
        version=int(folder.name),
        signatures={},
        definitions={},
        labels=(),
        card={},
        saved_model=None,
    )


def test_a_version_that_fails_in_an_unknown_way_is_logged(tmp_path: Path) -> None:
    def fail(folder: Path, *, trust: bool) -> LoadedModel:
        raise AttributeError("odd")

    add_version(tmp_path, 1)
    versions = Versions(tmp_path, trust=True, load=fail)
    with heard() as messages:
        asyncio.run(versions.look())
    assert versions.current is None
    assert versions.states[1].state == "END"
    assert str(tmp_path) not in versions.states[1].message
    assert "odd" in messages[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with two versions."""
    model = tmp_path / "m"
    add_version(model, 1)
    add_version(model, 2)
    return model


@pytest.fixture
def versions(folder: Path) -> Versions:
    return Versions(folder, trust=True, load=load_nothing)


async def look(versions: Versions) -> ServedVersion:
    """Return the version that answers after a look, its predecessor let go."""
    await versions.look()
    await asyncio.sleep(0)
    assert versions.current is not None
    return versions.current


def test_a_request_before_a_version_is_ready_is_refused(versions: Versions) -> None:
    with pytest.raises(NotReady, match="m is being loaded; try again later"), versions.using():
        pass


def test_where_the_newest_is_deleted_the_one_before_takes_over(
    versions: Versions, folder: Path
) -> None:
    async def delete_in_turn() -> list[int]:
        served = await look(versions)
        numbers = [served.model.version]
        for number in (2, 1):
            shutil.rmtree(folder / str(number))
            served = await look(versions)
            numbers.append(served.model.version)
        return numbers

    assert asyncio.run(delete_in_turn()) == [2, 1, 1]
    assert versions.states[1].state == "AVAILABLE"
    assert versions.states[2].state == "END"


def test_another_model_under_the_same_number_is_loaded(versions: Versions, folder: Path) -> None:
    async def replace() -> list[ServedVersion]:
        first = await look(versions)
        same = await look(versions)
        shutil.rmtree(folder / "2")
        add_version(folder, 2)
        return [first, same, await look(versions)]

    first, same, other = asyncio.run(replace())
    assert first is same
    assert first is not other
    assert versions.states[2].state == "AVAILABLE"
