"""Prepared data of TFDS: which of it a name means, damage, and open files."""

import gc
import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from epochal.app.config import Config
from epochal.app.data.availability import check_data
from epochal.app.data.load import load
from epochal.app.data.sources.record_places import record_places
from epochal.app.data.sources.tfds import Records, find
from epochal.app.errors import UsageError
from epochal.app.store.runs import default_name
from tests.support.tiny_data import write_tfds


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny MNIST and CIFAR-10."""
    folder = tmp_path_factory.mktemp("tfds")
    write_tfds(folder)
    return folder


def write_info(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")


@pytest.mark.parametrize(
    ("versions", "name", "expected"),
    [
        (["flowers/9.9.0", "flowers/9.10.0"], "flowers", "flowers/9.10.0"),
        (["flowers/9.9.0", "flowers/9.10.0"], "flowers/9.9.0", "flowers/9.9.0"),
        (["letters/upper/1.0.0", "letters/upper/2.0.0"], "letters", "letters/upper/2.0.0"),
        (["letters/upper/1.0.0", "letters/lower/1.0.0"], "letters/lower", "letters/lower/1.0.0"),
    ],
)
def test_a_name_means_its_newest_version(
    tmp_path: Path, versions: list[str], name: str, expected: str
) -> None:
    write_info(*(tmp_path / version for version in versions))
    found = find(name, str(tmp_path))
    assert (found.name, found.folder) == (expected, tmp_path / expected)


def test_of_several_configurations_one_must_be_named(tmp_path: Path) -> None:
    write_info(tmp_path / "letters/upper/1.0.0", tmp_path / "letters/lower/2.0.0")
    with pytest.raises(
        UsageError, match=r"give one of letters/lower/2\.0\.0, letters/upper/1\.0\.0"
    ):
        find("letters", str(tmp_path))


def test_a_run_names_the_version_that_it_was_trained_on(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = check_data(Config(dataset="mnist", data_dir=str(prepared), model="mlp"))
    assert config.dataset == "mnist/9.9.9"
    assert default_name(config) == "mnist-mlp"
    monkeypatch.chdir(prepared)  # where there is a folder of that name
    assert check_data(config).dataset == "mnist/9.9.9"
    assert len(load(config).test) == 40


def test_a_file_with_fewer_records_than_it_should_have_is_damaged(
    prepared: Path, tmp_path: Path
) -> None:
    shutil.copytree(prepared / "mnist", tmp_path / "mnist")
    [info] = tmp_path.glob("mnist/*/dataset_info.json")
    values = json.loads(info.read_text())
    for split in values["splits"]:
        split["shardLengths"] = [str(int(split["shardLengths"][0]) + 1)]
    info.write_text(json.dumps(values))
    with pytest.raises(UsageError, match="has 200 of the 201 records"):
        load(Config(dataset="mnist", data_dir=str(tmp_path), model="mlp"))


def test_a_file_that_was_cut_at_a_records_end_is_named(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "cifar10", tmp_path / "cifar10")
    [file] = tmp_path.glob("cifar10/*/*test.tfrecord*")
    offsets, _ = record_places(file)
    os.truncate(file, offsets[-1] - 12)
    with pytest.raises(UsageError, match=rf"{file.name} has 39 of the 40 records"):
        load(Config(dataset="cifar10", data_dir=str(tmp_path), model="mlp"))
    os.truncate(file, offsets[-1] - 13)
    with pytest.raises(UsageError, match=rf"{file.name}' is cut short or damaged \(record 38"):
        load(Config(dataset="cifar10", data_dir=str(tmp_path), model="mlp"))


def count_open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_more_files_than_the_soft_limit_are_opened_and_closed_again(tmp_path: Path) -> None:
    names = []
    for number in range(200):
        path = tmp_path / f"{number}.tfrecord"
        path.write_bytes(b"")
        names.append(str(path))
    nothing = np.zeros(0, np.int64)
    records = Records(
        files=tuple(names),
        digests=(),
        file=nothing,
        offset=nothing,
        length=nothing,
        labels=nothing,
        image_key="image",
    )
    gc.collect()
    before = count_open_files()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 100, hard))
    try:
        loader = records.loader()
        assert count_open_files() >= before + 200
        del loader
        gc.collect()
        assert count_open_files() <= before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
