"""Prepared data: the images of their source to the bit, whole or absent, and made once."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.commands import main
from epochal.app.config import Augment, Config, Data
from epochal.app.data.availability import check_data, source_of
from epochal.app.data.dataset import CachedImages, ShardImages
from epochal.app.data.load import SOURCES, load
from epochal.app.data.prepare import Progress, prepare
from epochal.app.errors import RunInUse, StorageError, UsageError
from epochal.app.store import files
from tests.support.corpus import image_folder
from tests.support.program import epochal, start, stop_when
from tests.support.tiny_data import write_photos, write_tfds

DIGITS = Config(image_size=12)


def unheard(progress: Progress) -> None:
    assert progress.done <= progress.total


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """JPEG files of 40 x 36 pixels, three classes of twenty."""
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, prepared for 12 pixels in three shards, for tests that read them."""
    out = tmp_path_factory.mktemp("digits") / "out"
    prepare(DIGITS, out, report=unheard, shard_bytes=600 * 12 * 12)
    return out


@pytest.fixture
def prepared(digits: Path, tmp_path: Path) -> Path:
    """A copy of these, for tests that change it."""
    return shutil.copytree(digits, tmp_path / "prepared")


@pytest.mark.slow
@pytest.mark.parametrize("cache_gib", [0.0, 1.0])
def test_prepared_images_are_those_of_their_source(
    photos: Path, tmp_path: Path, cache_gib: float
) -> None:
    config = Config(dataset=str(photos), image_size=12, data=Data(cache_gib=cache_gib))
    out = tmp_path / "out"
    record = prepare(config, out, report=unheard, shard_bytes=7 * 12 * 12 * 3)
    assert record.splits["all"].shards == (7,) * 8 + (4,)
    assert source_of(str(out)) == "prepared"
    expected = load(config)
    actual = load(check_data(replace(config, dataset=str(out), image_size=None)))
    assert isinstance(actual.train.images, CachedImages if cache_gib else ShardImages)
    assert actual.fingerprint() == expected.fingerprint()
    assert actual.preprocessing == expected.preprocessing
    assert actual.flippable == expected.flippable
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(actual, name).read(), getattr(expected, name).read())
    some = actual.train.images.read(tf.constant([59, 0, 7, 6], tf.int64))
    np.testing.assert_array_equal(some, expected.train.images.read(tf.constant([59, 0, 7, 6])))
    none = actual.train.images.read(tf.constant([], tf.int64))
    assert none.shape == (0, 12, 12, 3)


def test_digits_and_data_of_tfds_are_prepared_too(tmp_path: Path) -> None:
    write_tfds(tmp_path / "tfds")
    for name in ("digits", "cifar10"):
        config = check_data(Config(dataset=name, data_dir=str(tmp_path / "tfds")))
        out = tmp_path / name
        prepare(config, out, report=unheard)
        actual = load(Config(dataset=str(out)))
        assert actual.fingerprint() == load(config).fingerprint()
    assert not load(Config(dataset=str(tmp_path / "digits"))).flippable


def test_splits_grey_images_and_files_left_out_are_kept(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "data", {"train/a": 3, "train/b": 4, "val/a": 2, "test/b": 1})
    (root / "val/a/broken.png").write_bytes(b"x")
    config = Config(dataset=str(root), data=Data(skip_bad=True))
    prepare(config, tmp_path / "out", report=unheard)
    actual = load(Config(dataset=str(tmp_path / "out")))
    expected = load(config)
    assert actual.fingerprint() == expected.fingerprint()
    assert actual.skipped == expected.skipped
    assert actual.digests == expected.digests


def test_other_sizes_than_the_prepared_ones_are_refused(prepared: Path) -> None:
    config = Config(dataset=str(prepared))
    assert load(replace(config, image_size=12)).preprocessing.image_size == 12
    for other in (
        replace(config, image_size=14),
        replace(config, augment=Augment(scale_crop=True)),
    ):
        with pytest.raises(UsageError, match=r"has images of 12 pixels, prepared for --image-size"):
            load(other)


class Killed(Exception):
    """Ends a preparation in its middle."""


def stop_after(count: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.done >= count:
            raise Killed

    return report


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.images")
    }


def test_finished_shards_are_not_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    work = tmp_path / ".out.preparing"
    make = partial(prepare, DIGITS, out, shard_bytes=600 * 12 * 12)
    with pytest.raises(Killed):
        make(report=stop_after(1200))
    assert not out.exists()
    before = states(work)
    assert len(before) == 2
    (work / ".tmp-left").write_bytes(b"of a killed process")
    (work / files.MANIFEST).write_text("{}")
    make(report=unheard)
    assert not work.exists()
    after = states(out)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before
    files.verify(out)
    make(report=unheard)  # all is there: nothing is made
    assert states(out) == after


@pytest.mark.slow
def test_a_source_that_changed_between_two_attempts_is_begun_anew(
    photos: Path, tmp_path: Path
) -> None:
    config = Config(dataset=str(photos), image_size=12)
    out = tmp_path / "out"
    make = partial(prepare, config, out, shard_bytes=20 * 12 * 12 * 3)
    with pytest.raises(Killed):
        make(report=stop_after(20))
    shutil.copy(photos / "rose/001.jpg", photos / "daisy/001.jpg")
    make(report=unheard)
    assert load(Config(dataset=str(out))).fingerprint() == load(config).fingerprint()
    shutil.copy(photos / "rose/002.jpg", photos / "daisy/001.jpg")
    with pytest.raises(UsageError, match="prepared from other images or in other sizes"):
        make(report=unheard)


def test_a_source_that_changes_meanwhile_is_refused(photos: Path, tmp_path: Path) -> None:
    config = Config(dataset=str(photos), image_size=12)

    def change(progress: Progress) -> None:
        shutil.copy(photos / "rose/001.jpg", photos / "daisy/001.jpg")

    with pytest.raises(UsageError, match=r"changed while it was read: .*daisy/001\.jpg"):
        prepare(config, tmp_path / "out", report=change)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine").write_text("mine")
    (tmp_path / ".other.preparing").mkdir()
    (tmp_path / ".other.preparing/mine").write_text("mine")
    for name, message in (
        ("file", "a file of that name exists"),
        ("folder", "holds other files"),
        ("other", "no unfinished preparation"),
    ):
        with pytest.raises(UsageError, match=message):
            prepare(DIGITS, tmp_path / name, report=unheard)
    assert (tmp_path / "file").read_text() == "mine"
    assert os.listdir(tmp_path / "folder") == ["mine"]
    assert os.listdir(tmp_path / ".other.preparing") == ["mine"]
    (tmp_path / "empty").mkdir()
    prepare(DIGITS, tmp_path / "empty", report=unheard)
    with pytest.raises(UsageError, match="is prepared already; give its source"):
        prepare(Config(dataset=str(tmp_path / "empty")), tmp_path / "new", report=unheard)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with files.alone(tmp_path / ".out.preparing"), pytest.raises(RunInUse, match="another --out"):
        prepare(DIGITS, tmp_path / "out", report=unheard)


DAMAGE = {
    "shard": lambda out: flip(out / "all-00000.images"),
    "labels": lambda out: flip(out / "all.labels"),
    "record": lambda out: flip(out / "prepared.json"),
    "manifest": lambda out: (out / "manifest.json").unlink(),
    "gone": lambda out: (out / "all-00000.images").unlink(),
    "more": lambda out: (out / "all-00009.images").write_bytes(b"x"),
    "later": lambda out: renew(out, schema=99),
}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def renew(out: Path, **changes: object) -> None:
    """Write another record, and a manifest that fits."""
    values = json.loads((out / "prepared.json").read_text())
    (out / "prepared.json").write_text(json.dumps(values | changes))
    files.publish_filled(out, out)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line(prepared: Path, name: str) -> None:
    DAMAGE[name](prepared)
    with pytest.raises(StorageError, match=r"missing|damaged|later version"):
        load(Config(dataset=str(prepared)))


def test_a_shard_that_becomes_shorter_is_one_line(prepared: Path) -> None:
    def read_and_lose(config: Config) -> object:
        raw = SOURCES["prepared"](config)
        os.truncate(prepared / "all-00000.images", 1000)
        return raw

    config = Config(dataset=str(prepared), data=Data(cache_gib=0.0))
    with pytest.raises(UsageError, match=r"cannot be read: it has become shorter: .*all-00000"):
        load(config, sources={"prepared": read_and_lose})


def test_the_command(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["data", "prepare", "./photos", "--out", "./out", "--image-size", "12"]
    assert main.main(words) == 0
    assert capsys.readouterr().out.startswith("out: 60 images of 12 x 12 x 3, 3 classes, 25.3 KiB")
    assert main.main(["data", "prepare", "./photos", "--out", "./other"]) == 2
    assert "images of" in capsys.readouterr().err
    assert not Path("other").exists()
    assert not Path(".other.preparing").exists()


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_half(tmp_path: Path) -> None:
    image_folder(tmp_path / "data", {"a": 300, "b": 300}, size=64)
    words = ["data", "prepare", "./data", "--out", "out", "--image-size", "512"]
    work = tmp_path / ".out.preparing"
    for count in (1, 2):
        process = start(words, tmp_path)
        reached = partial(lambda least: len(list(work.glob("*.images"))) >= least, count)
        assert stop_when(process, reached, signal.SIGKILL) == -signal.SIGKILL
        assert not (tmp_path / "out").exists()
    before = states(work)
    assert epochal(words, tmp_path).returncode == 0
    after = states(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    files.verify(tmp_path / "out")


@pytest.mark.slow
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    image_folder(tmp_path / "data", {"a": 100, "b": 100}, size=64)
    words = ["data", "prepare", "./data", "--out", "out", "--image-size", "512"]
    failed = epochal(words, tmp_path, largest_file=2**20)
    assert failed.returncode == 4
    assert "cannot write" in failed.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert epochal(words, tmp_path).returncode == 0
