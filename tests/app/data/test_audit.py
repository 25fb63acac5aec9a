"""Audits: copies that were planted, faults that were made, and splits that keep copies together."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from epochal.app.config import Config
from epochal.app.config.data import Data
from epochal.app.data.audit.alignment import differences
from epochal.app.data.audit.audit import alike_names, audit
from epochal.app.data.audit.copies import find_copies, group
from epochal.app.data.audit.labels import ImageRecord, suspicion
from epochal.app.data.audit.survey import survey
from epochal.app.data.audit.together import shrink
from epochal.app.data.audit.words import findings, table, values
from epochal.app.data.load import load
from epochal.app.errors import UsageError
from epochal.app.store.data_card import DataCard
from tests.support.planted_copies import decode, make_copy, make_photo


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 60 pictures in train and 20 in val, of which ten a class are copies."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(5)
    for name in ("cat", "dog"):
        for split in ("train", "val"):
            (root / split / name).mkdir(parents=True)
        for number in range(60):
            photo = make_photo(random)
            Image.fromarray(photo).save(root / f"train/{name}/{number:02d}.png")
            if number < 10:
                copy = make_copy(photo, random)
                (root / f"val/{name}/copy{number:02d}.jpg").write_bytes(copy)
            elif number < 20:
                other = Image.fromarray(make_photo(random))
                other.save(root / f"val/{name}/other{number:02d}.png")
    return root


def folder_config(root: Path, **data: object) -> Config:
    return Config(dataset=str(root), image_size=32, data=Data(**data))  # type: ignore[arg-type]


def test_planted_copies_across_splits_are_found_and_no_others(photos: Path) -> None:
    config = folder_config(photos)
    found = audit(config, survey(config))
    pairs = {tuple(found.survey.names[at] for at in pair) for pair in found.copies.near.tolist()}
    expected = set()
    for name in ("cat", "dog"):
        for number in range(10):
            expected.add((f"train/{name}/{number:02d}.png", f"val/{name}/copy{number:02d}.jpg"))
    assert pairs == expected
    assert all(found.is_across(pair) for pair in found.copies.near.tolist())
    assert found.copies.exact == ()
    entries = values(found)["near_duplicates"]
    assert len(entries) == 20
    assert all(entry["across_splits"] for entry in entries)


def digit_pictures() -> np.ndarray:
    levels, _ = load_digits(return_X_y=True)
    images = (levels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return shrink(tf.constant(images)).numpy()


def test_handwritten_digits_that_look_alike_are_no_copies() -> None:
    pairs, _ = find_copies(digit_pictures())
    assert len(pairs) == 0


def test_copies_of_copies_are_one_group_whatever_the_order() -> None:
    random = np.random.default_rng(0)
    originals = [make_photo(random) for _ in range(30)]
    pictures = [*originals]
    for place in (3, 3, 3, 8):
        pictures.append(decode(make_copy(originals[place], random)))
    order = random.permutation(len(pictures))
    small = np.stack([shrink(tf.constant(pictures[at])[None])[0].numpy() for at in order])
    pairs, shares = find_copies(small)
    numbers = group(pairs, len(small))
    sizes = Counter(Counter(numbers.tolist()).values())
    assert sizes == {1: 28, 2: 1, 4: 1}
    assert (shares >= 0).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_or_flat_pictures(count: int) -> None:
    flat = np.full((count, 32, 32), 7, np.uint8)
    pairs, shares = find_copies(flat)
    assert pairs.shape == (0, 2)
    assert len(shares) == 0


@settings(max_examples=20, deadline=None)
@given(
    shift=st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
    gain=st.floats(0.6, 1.0),
    offset=st.integers(0, 20),
)
def test_a_shift_and_another_brightness_are_explained(
    shift: tuple[int, int], gain: float, offset: int
) -> None:
    photo = make_photo(np.random.default_rng(1))
    first = shrink(tf.constant(photo)[None])[0].numpy()
    moved = np.roll(photo, (3 * shift[0], 3 * shift[1]), axis=(0, 1))
    second = shrink(tf.constant(moved)[None])[0].numpy()
    second = np.clip(gain * second + offset, 0, 255).astype(np.uint8)
    other = shrink(tf.constant(make_photo(np.random.default_rng(2)))[None])[0].numpy()
    pictures = np.stack([first, second, other])
    same, different = differences(pictures, np.array([[0, 1], [0, 2]]))
    assert same < 0.02
    assert different > 0.3


def test_equal_pictures_have_no_difference() -> None:
    pictures = digit_pictures()[:20]
    pairs = np.stack([np.arange(20), np.arange(20)], axis=1)
    assert differences(pictures, pairs) == pytest.approx(np.zeros(20), abs=1e-5)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A folder with one of each fault."""
    random = np.random.default_rng(1)
    for name in ("Cat", "cat", "dog", "empty"):
        (tmp_path / name).mkdir()
    for number in range(12):
        Image.fromarray(make_photo(random, 40)).save(tmp_path / f"dog/{number:02d}.png")
    for name in ("Cat", "cat"):
        for number in range(3):
            Image.fromarray(make_photo(random, 40)).save(tmp_path / f"{name}/{number}.png")
    twin = tmp_path / "dog/00.png"
    (tmp_path / "cat/twin.png").write_bytes(twin.read_bytes())
    Image.open(twin).save(tmp_path / "dog/recoded.bmp")
    Image.fromarray(make_photo(random, 40)).resize((400, 40)).save(tmp_path / "dog/long.png")
    (tmp_path / "dog/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (tmp_path / "cat/text.png").write_text("hello")
    return tmp_path


def test_every_fault_of_a_folder_is_told(faulty: Path) -> None:
    config = folder_config(faulty)
    found = audit(config, survey(config))
    told = values(found)
    bad = {Path(entry["file"]).name for entry in told["bad"]}
    assert bad == {"broken.jpg", "text.png"}
    assert told["alike_classes"] == [["Cat", "cat"]]
    assert [entry["name"] for entry in told["odd_sizes"]] == ["dog/long.png"]
    (twins,) = told["exact_duplicates"]
    assert {entry["name"] for entry in twins["images"]} == {
        "cat/twin.png",
        "dog/00.png",
        "dog/recoded.bmp",
    }
    assert not twins["same_bytes"]
    assert told["classes"]["empty"] == {}
    assert told["imbalance"] == pytest.approx(14 / 3)
    assert told["modes"] == {"PNG RGB": 20, "BMP RGB": 1}
    text = "\n".join(table(found))
    for sentence in findings(found):
        assert sentence in text


def test_names_that_look_alike() -> None:
    names = ["cat", "Cat", "dog", "do g", "bird", "café", "cafe\u0301"]
    assert alike_names(names) == (("cat", "Cat"), ("dog", "do g"), ("café", "cafe\u0301"))


def test_digits_are_audited_in_memory() -> None:
    found = audit(Config(), survey(Config()))
    told = values(found)
    assert told["images"] == 1797
    assert told["sizes"] == {"8 x 8": 1797}
    dataset = load(Config())
    split_sizes = Counter(found.assigned)
    assert split_sizes == {
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
    }


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without splits: two classes of 30 pictures, and copies of ten of each."""
    root = tmp_path_factory.mktemp("doubled")
    random = np.random.default_rng(7)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number in range(30):
            photo = make_photo(random, 64)
            Image.fromarray(photo).save(root / f"{name}/{number:02d}.png")
            if number < 10:
                copy = make_copy(photo, random)
                (root / f"{name}/{number:02d}-copy.jpg").write_bytes(copy)
    return root


@pytest.mark.parametrize("split", [None, pytest.param("kfold:4/2", marks=pytest.mark.slow)])
def test_copies_are_kept_together(doubled: Path, split: str | None) -> None:
    config = folder_config(doubled, near_duplicates="keep-together", split=split)
    together = load(config)
    again = load(replace(config, data=replace(config.data, cache_gib=0.0)))
    apart = load(folder_config(doubled, split=split))
    names = sorted(together.digests)
    where = {}
    for name in ("train", "validation", "test"):
        part = getattr(together, name)
        assert np.array_equal(part.indices, getattr(again, name).indices)
        for index in part.indices:
            where[names[index]] = name
    pairs = [(name, name.replace(".png", "-copy.jpg")) for name in names if "copy" not in name]
    pairs = [pair for pair in pairs if pair[1] in where]
    assert len(pairs) == 20
    for first, second in pairs:
        assert where[first] == where[second]
    card = together.card(test=True)
    assert card.copies is not None
    assert card.copies.moved
    assert card.copies.left == ()
    assert DataCard.from_dict(card.to_dict()) == card
    moved = {name for name, _ in card.copies.moved}
    for name, copy in pairs:
        assert {name, copy} & moved or where[name] == where[copy]
    # Nothing else moves.
    assert len(together.train) - len(apart.train) <= len(card.copies.moved)
    found = audit(config, survey(config))
    assert not any(found.is_across(places) for places in found.copy_groups())
    assert apart.card(test=True).copies is None


def test_copies_in_splits_of_the_source_are_named_and_stay(photos: Path) -> None:
    (config, plain) = (
        folder_config(photos, near_duplicates="keep-together"),
        folder_config(photos),
    )
    together = load(config)
    assert np.array_equal(together.validation.indices, load(plain).validation.indices)
    assert together.copies is not None
    left = {name for name, _ in together.copies.left}
    assert left == {f"val/{name}/copy{at:02d}.jpg" for name in ("cat", "dog") for at in range(10)}


def test_a_split_of_nothing_but_copies_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        photo = make_photo(random, 40)
        for number in range(6):
            (tmp_path / f"{name}/{number}.jpg").write_bytes(make_copy(photo, random))
    with pytest.raises(UsageError, match=r"data\.near_duplicates"):
        load(folder_config(tmp_path, near_duplicates="keep-together"))


def test_a_record_counts_forgetting_by_hand() -> None:
    record = ImageRecord.empty(np.arange(3), np.array([0, 1, 1]))
    margins = np.array([[1, -1, 2], [-1, -1, 2], [3, -1, -2], [-2, -1, 1]], float)
    for epoch in margins:
        record.learn(np.array([2, 0, 1]), 5 - epoch[[2, 0, 1]], epoch[[2, 0, 1]])
    assert record.forgotten.tolist() == [2, 0, 1]
    assert record.right.tolist() == [2, 0, 3]
    assert record.margins.tolist() == [1, -4, 3]
    assert record.losses.tolist() == [19, 24, 17]
    assert suspicion(record).argmax() == 1
    assert ImageRecord.from_arrays(record.arrays()).forgotten.tolist() == [2, 0, 1]


def test_a_record_of_a_sampler_takes_means_and_leaves_out_the_absent() -> None:
    record = ImageRecord.empty(np.arange(3), np.zeros(3))
    record.learn(np.array([0, 0, 2]), np.array([1.0, 3.0, 5.0]), np.array([-1.0, 2.0, -3.0]))
    assert record.epochs.tolist() == [1, 0, 1]
    assert record.losses.tolist() == [2, 0, 5]
    assert record.margins.tolist() == [0.5, 0, -3]
    assert record.was_right.tolist() == [True, False, False]
