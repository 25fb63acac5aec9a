"""Which source a name means, and whether its images may be mirrored."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from epochal.app.config import Config
from epochal.app.data.availability import check_data, is_flippable, source_of
from epochal.app.errors import UsageError
from tests.support.corpus import image_folder

CHARACTERS = ("digits", "mnist", "mnist_png")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with folders of these names."""
    for name in (*CHARACTERS, "flowers", "digits_and/flowers"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", CHARACTERS)
def test_a_folder_of_characters_is_not_mirrored(folders: Path, name: str) -> None:
    assert not is_flippable(f"{folders}/{name}")
    assert not is_flippable(f"{folders}/{name}/")
    assert not is_flippable(f"./{name}")
    assert not is_flippable(f"./{name}//")
    assert not is_flippable(f"{folders}/flowers/../{name}")
    assert not is_flippable(name)


def test_characters_at_home_are_not_mirrored(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folders / "mnist"))
    assert not is_flippable("~/digits/")
    assert not is_flippable("~")


def test_the_working_folder_has_a_name(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders / "digits")
    assert not is_flippable(".")
    assert is_flippable("../flowers")


def test_only_the_last_part_of_a_path_counts(folders: Path) -> None:
    assert is_flippable(f"{folders}/flowers")
    assert is_flippable("flowers/")
    assert is_flippable(f"{folders}/digits_and/flowers")


@pytest.mark.parametrize(
    ("name", "flippable"),
    [
        ("svhn_cropped", False),
        ("emnist/letters", False),
        ("mnist_corrupted/identity", False),
        ("fashion_mnist", True),
        ("cifar10", True),
        ("imagenet_v2/mnist", True),
    ],
)
def test_a_data_set_is_known_by_its_name_before_any_slash(name: str, flippable: bool) -> None:
    assert is_flippable(name) is flippable


def test_a_name_means_digits_a_folder_or_prepared_data(folders: Path) -> None:
    (folders / "flowers/1.0.0").mkdir()
    (folders / "flowers/1.0.0/dataset_info.json").touch()
    assert source_of("digits") == "digits"
    assert source_of("./digits") == "folder"
    assert source_of("mnist_png") == "folder"
    assert source_of("flowers") == "tfds"
    assert source_of("cifar10") == "tfds"


def test_a_folder_becomes_absolute(folders: Path) -> None:
    assert check_data(Config(dataset="mnist_png")).dataset == str(folders / "mnist_png")
    assert check_data(Config(dataset="digits")).dataset == "digits"


def test_a_folder_that_is_missing_or_a_file_is_refused(folders: Path) -> None:
    (folders / "list.txt").touch()
    with pytest.raises(UsageError, match=r"\./nowhere is missing"):
        check_data(Config(dataset="./nowhere"))
    with pytest.raises(UsageError, match=r"list\.txt is a file"):
        check_data(Config(dataset="list.txt"))


@pytest.mark.parametrize(("kind", "ending"), [("zip", ".zip"), ("gztar", ".tar.gz")])
def test_an_archive_is_refused_with_commands_that_work(
    folders: Path, kind: str, ending: str
) -> None:
    image_folder(folders / "my pets", {"cat": 3, "dog": 3})
    shutil.make_archive("my pets", kind, "my pets")
    with pytest.raises(UsageError) as caught:
        check_data(Config(dataset=f"my pets{ending}"))
    command, dataset = re.fullmatch(
        r".* unpack it: python (.*), then give --dataset (.*)", str(caught.value)
    ).groups()
    subprocess.run([sys.executable, *shlex.split(command)], check=True)
    [unpacked] = shlex.split(dataset)
    assert unpacked == "./my pets-unpacked"  # nothing is mixed into a folder that is there
    assert sorted(path.name for path in Path(unpacked).iterdir()) == ["cat", "dog"]
    check_data(Config(dataset=unpacked))
