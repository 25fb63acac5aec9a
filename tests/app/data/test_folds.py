"""Splits of a pool: laws of folds and bootstraps, and what becomes of a data set's own splits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from epochal.app.config import Config, Data
from epochal.app.config.splits import Fold, Splits
from epochal.app.data.dataset import CachedImages, Dataset, RawDataset, Split
from epochal.app.data.folds import fold_positions
from epochal.app.data.load import SOURCES, LastPrepared, load
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.sources import digits
from epochal.app.errors import UsageError

seeds = st.integers(0, 2**31 - 1)


@st.composite
def pools(draw: st.DrawFn, least: int) -> np.ndarray:
    """Labels of at least so many images a class, in any order."""
    counts = draw(st.lists(st.integers(least, least + 9), min_size=1, max_size=4))
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(seeds)).permutation(labels)


# words


@pytest.mark.parametrize(
    ("text", "count"),
    [("holdout", 1), ("kfold:5", 5), ("repeated:3x5", 15), ("bootstrap:5", 5), ("repeated:1x2", 2)],
)
def test_words_come_back(text: str, count: int) -> None:
    splits = Splits.of(text)
    assert (str(splits), splits.count) == (text, count)


CLASSES = tuple("1234567890")  # a name is no place
OTHER_WORDS = (
    *(
        "",
        "kfold",
        "kfold:",
        "kfold:1",
        "kfold:05",
        "kfold:1000",
        "kfold:-5",
        "kfold:5 ",
        "kfold:٥",
        "KFOLD:5",
    ),
    *("repeated:5", "repeated:0x5", "bootstrap:0", "holdout:1"),
)


@pytest.mark.parametrize("text", OTHER_WORDS)
def test_other_words_are_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^splits: expected holdout, kfold:5, .* got '.*'$"):
        Splits.of(text)


def test_one_of_several() -> None:
    assert Fold.of("repeated:3x5/15") == Fold(Splits("repeated", 3, 5), 15)
    assert str(Fold.of("bootstrap:5/2")) == "bootstrap:5/2"


@pytest.mark.parametrize(
    "text", ["", "kfold:5", "kfold:5/0", "kfold:5/6", "holdout/1", "holdout", "kfold:5/2/1"]
)
def test_none_of_several_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^data.split: expected all or .* got '.*'$"):
        Fold.of(text)


# laws


@given(st.data(), st.integers(2, 6), st.integers(1, 3), seeds)
def test_every_image_validates_once_a_repetition(
    data: st.DataObject, folds: int, repetitions: int, seed: int
) -> None:
    labels = data.draw(pools(folds))
    splits = Splits.of(f"repeated:{repetitions}x{folds}")
    for repetition in range(repetitions):
        parts = [
            fold_positions(labels, CLASSES, splits, repetition * folds + place, seed)
            for place in range(folds)
        ]
        validation = [chosen for _, chosen in parts]
        np.testing.assert_array_equal(np.sort(np.concatenate(validation)), np.arange(len(labels)))
        for train, chosen in parts:
            np.testing.assert_array_equal(
                np.sort(np.concatenate([train, chosen])), np.arange(len(labels))
            )
        by_class = np.stack(
            [np.bincount(labels[chosen], minlength=labels.max() + 1) for chosen in validation]
        )
        assert np.ptp(by_class, axis=0).max() <= 1
        assert np.ptp(by_class.sum(axis=1)) <= 1


@given(pools(1).filter(lambda labels: np.bincount(labels).min() > 1), st.integers(0, 4), seeds)
def test_a_bootstrap_draws_each_class_as_often_as_it_is_large(
    labels: np.ndarray, index: int, seed: int
) -> None:
    train, validation = fold_positions(labels, CLASSES, Splits.of("bootstrap:5"), index, seed)
    np.testing.assert_array_equal(np.bincount(labels[train]), np.bincount(labels))
    np.testing.assert_array_equal(validation, np.setdiff1d(np.arange(len(labels)), train))
    assert set(labels[validation]) == set(labels)


def test_a_bootstrap_leaves_about_a_share_of_1_over_e() -> None:
    labels = np.arange(20_000) % 10
    _, validation = fold_positions(labels, CLASSES, Splits.of("bootstrap:5"), 3, 0)
    assert len(validation) / len(labels) == pytest.approx(
        np.exp(-1), abs=0.01
    )  # three standard deviations: 0.007


@pytest.mark.parametrize("text", ["kfold:3", "repeated:2x3", "bootstrap:6"])
def test_a_split_is_a_function_of_its_index_and_seed(text: str) -> None:
    labels = np.arange(60) % 3
    splits = Splits.of(text)
    drawn = [
        fold_positions(labels, CLASSES, splits, index, seed)
        for seed in (0, 1)
        for index in range(splits.count)
    ]
    again = [
        fold_positions(labels.copy(), CLASSES, splits, index, seed)
        for seed in (0, 1)
        for index in range(splits.count)
    ]
    for (train, validation), others in zip(drawn, again, strict=True):
        assert (train.dtype, validation.dtype) == (np.int64, np.int64)
        np.testing.assert_array_equal(train, others[0])
        np.testing.assert_array_equal(validation, others[1])
    assert len({validation.tobytes() for _, validation in drawn}) == len(drawn)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kfold:4", r"class '2' has 3 image\(s\), at least 4 are needed for 4 folds"),
        ("repeated:2x9", r"class '2' has 3 image\(s\), at least 9 are needed for 9 folds"),
    ],
)
def test_more_folds_than_members_are_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fold_positions(np.array([0] * 9 + [1] * 3), CLASSES, Splits.of(text), 0, 0)


def test_a_class_of_one_image_cannot_be_resampled() -> None:
    with pytest.raises(
        UsageError, match=r"class '3' has 1 image\(s\), at least 2 are needed for a bootstrap"
    ):
        fold_positions(np.array([0, 0, 2]), CLASSES, Splits.of("bootstrap:5"), 0, 0)


@pytest.mark.parametrize(("text", "index"), [("holdout", 0), ("kfold:5", 5), ("kfold:5", -1)])
def test_no_such_split(text: str, index: int) -> None:
    with pytest.raises(ValueError, match="index must be from 0 to below"):
        fold_positions(np.arange(100) % 2, CLASSES, Splits.of(text), index, 0)


# data sets


@pytest.fixture(scope="module")
def plain() -> Dataset:
    return load(Config())


def loaded(split: str, **data: float) -> Dataset:
    return load(Config(data=Data(split=split, **data)))


def pool_of(dataset: Dataset) -> list[int]:
    return sorted([*dataset.train.indices, *dataset.validation.indices])


def equal(first: Split, second: Split) -> bool:
    return (
        first.indices.tobytes() + first.labels.tobytes()
        == second.indices.tobytes() + second.labels.tobytes()
    )


@pytest.mark.parametrize("split", ["kfold:5/2", "repeated:3x5/7", "bootstrap:5/2", "all"])
def test_the_test_split_stays(plain: Dataset, split: str) -> None:
    dataset = loaded(split)
    assert equal(dataset.test, plain.test)
    assert set(dataset.train.indices) | set(dataset.validation.indices) == set(pool_of(plain))
    assert dataset.fingerprint() != plain.fingerprint()


def test_folds_of_what_is_not_test(plain: Dataset) -> None:
    folds = [loaded(f"kfold:4/{number}") for number in (1, 2, 3, 4)]
    assert sorted(np.concatenate([dataset.validation.indices for dataset in folds])) == pool_of(
        plain
    )
    for dataset in folds:
        assert pool_of(dataset) == pool_of(plain)
        np.testing.assert_array_equal(
            dataset.train.labels, dataset.train.labels[np.argsort(dataset.train.indices)]
        )


def test_with_all_validation_is_trained_on(plain: Dataset) -> None:
    dataset = loaded("all", validation=0.1)
    assert list(dataset.train.indices) == pool_of(plain)
    assert equal(dataset.validation, load(Config(data=Data(validation=0.1))).validation)
    assert set(dataset.validation.indices) < set(dataset.train.indices)


def test_a_part_of_a_fold(plain: Dataset) -> None:
    whole = loaded("bootstrap:5/1")
    part = loaded("bootstrap:5/1", part=0.5)
    assert len(part.train) == pytest.approx(len(whole.train) / 2, abs=5)
    assert set(part.train.indices) < set(whole.train.indices)
    assert equal(part.validation, whole.validation)


@pytest.fixture
def own_splits(monkeypatch: pytest.MonkeyPatch) -> dict[str, Split]:
    """A data set with three splits: training images are darkest, test images brightest."""
    splits = {}
    labels = (np.arange(20) % 2).astype(np.int32)
    for place, name in enumerate(("train", "validation", "test")):
        images = CachedImages(tf.fill((20, 8, 8, 1), tf.constant(100 * place, tf.uint8)))
        splits[name] = Split(images, np.arange(20), labels)
    shape = ImageShape(channels=1, stored_size=8, image_size=8)
    raw = RawDataset(splits=splits, classes=("a", "b"), shape=shape)
    monkeypatch.setitem(SOURCES, "digits", lambda config: raw)
    return splits


def test_folds_are_of_the_training_split_alone(own_splits: dict[str, Split]) -> None:
    dataset = loaded("kfold:5/5")
    assert (len(dataset.train), len(dataset.validation)) == (16, 4)
    assert dataset.train.images is dataset.validation.images is own_splits["train"].images
    assert dataset.test is own_splits["test"]
    assert dataset.preprocessing.mean == (0.0,)


def test_with_all_a_validation_split_of_its_own_validates(own_splits: dict[str, Split]) -> None:
    dataset = loaded("all")
    assert (dataset.train, dataset.validation, dataset.test) == tuple(own_splits.values())
    assert dataset.preprocessing.mean == (0.0,)


# reading once


class Prepared:
    """A prepared data set "flowers", read as the digits; `reads` counts how often."""

    def __init__(self, root: Path) -> None:
        self.info = root / "flowers/1.0.0/dataset_info.json"
        self.info.parent.mkdir(parents=True)
        self.info.write_text("{}")
        self.config = Config(dataset="flowers", data_dir=str(root))
        self.reads = 0
        self._sources = SOURCES | {"tfds": self._read}
        self._last_prepared = LastPrepared()

    def _read(self, config: Config) -> RawDataset:
        self.reads += 1
        return digits.read(config)

    def load(self, config: Config) -> Dataset:
        return load(config, sources=self._sources, last_prepared=self._last_prepared)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path)


def test_prepared_data_is_read_once(prepared: Prepared) -> None:
    config = prepared.config
    first = prepared.load(config)
    second = prepared.load(replace(config, seed=1, model="mlp", data=Data(split="kfold:5/2")))
    assert second.train.images is first.train.images
    assert prepared.reads == 1


def test_only_the_prepared_data_read_last_is_kept(prepared: Prepared) -> None:
    prepared.load(prepared.config)
    prepared.load(replace(prepared.config, image_size=10))
    prepared.load(prepared.config)
    assert prepared.reads == 3
    prepared.load(Config())
    prepared.load(prepared.config)
    assert prepared.reads == 4


def test_prepared_data_that_changed_is_read_again(prepared: Prepared) -> None:
    prepared.load(prepared.config)
    prepared.info.write_text("{ }")
    prepared.load(prepared.config)
    assert prepared.reads == 2
