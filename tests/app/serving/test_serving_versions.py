"""Which version of a model answers: what is looked at, loaded, let go, without a server and without a model."""

import asyncio
import shutil
from pathlib import Path

import pytest

from epochal.app.serving import versions
from epochal.app.serving.loaded_model import Loaded


def test_a_version_that_fails_in_an_unknown_way_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def odd(folder: Path, *, trust: bool) -> None:
        raise AttributeError("odd")

    monkeypatch.setattr(versions, "load", odd)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").touch()
    said: list[str] = []
    watched = versions.Versions(tmp_path, trust=True, say=said.append)
    asyncio.run(watched.look())
    assert (watched.states[1].state, watched.current) == ("END", None)
    assert str(tmp_path) not in watched.states[1].message
    assert "odd" in said[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two versions that are complete to the eye."""
    for number in (1, 2):
        (tmp_path / "m" / str(number)).mkdir(parents=True)
        (tmp_path / "m" / str(number) / "saved_model.pb").touch()
    return tmp_path / "m"


@pytest.fixture
def watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> versions.Versions:
    """Looks at them, loading nothing."""
    monkeypatch.setattr(
        versions, "load", lambda one, trust: Loaded(int(one.name), {}, {}, (), {}, None)
    )
    return versions.Versions(folder, trust=True, say=print)


async def seen(watched: versions.Versions) -> int:
    """The version that answers after a look, its predecessor let go."""
    await watched.look()
    await asyncio.sleep(0)
    return watched.current.loaded.version


def test_who_asks_too_early_is_told_so(watched: versions.Versions) -> None:
    with (
        pytest.raises(versions.NotReady, match="m is being loaded; try again later"),
        watched.using(),
    ):
        pass


def test_where_the_newest_is_deleted_the_one_before_takes_over(
    watched: versions.Versions, folder: Path
) -> None:
    async def story() -> list[int]:
        found = [await seen(watched)]
        shutil.rmtree(folder / "2")
        found.append(await seen(watched))
        shutil.rmtree(folder / "1")
        return [*found, await seen(watched)]

    assert asyncio.run(story()) == [2, 1, 1]
    assert {number: one.state for number, one in watched.states.items()} == {
        1: "AVAILABLE",
        2: "END",
    }


def test_another_model_under_the_same_number_is_loaded(
    watched: versions.Versions, folder: Path
) -> None:
    async def story() -> list[object]:
        found = []
        for again in (False, False, True):
            if again:
                shutil.rmtree(folder / "2")
                (folder / "2").mkdir()
                (folder / "2/saved_model.pb").touch()
            await seen(watched)
            found.append(watched.current)
        return found

    first, same, other = asyncio.run(story())
    assert (first is same, first is other) == (True, False)
    assert watched.states[2].state == "AVAILABLE"
