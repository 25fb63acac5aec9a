"""Whether images may be mirrored is found in the images, whatever their folder is called."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from epochal.app.config import Augment, Config
from epochal.app.data.augment.configured import augmentation_for
from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.handedness import HANDED, told_from_mirrored
from epochal.app.data.load import load
from epochal.app.data.preprocessing import ImageShape
from epochal.app.doctor.data import check_flips
from epochal.app.training.run.first_lines import first_lines
from epochal.app.training.run.setup import set_up

DIGITS = (load_digits().images * 15.9).astype(np.uint8)[..., None]
LABELS = load_digits().target


def told(images: np.ndarray, labels: np.ndarray) -> float:
    split = Split(
        CachedImages(tf.constant(images)), np.arange(len(images)), labels.astype(np.int32)
    )
    side = images.shape[1]
    shape = ImageShape(channels=images.shape[-1], stored_size=side, image_size=side)
    return told_from_mirrored(split, shape, 0)


def with_some_mirrored(images: np.ndarray) -> np.ndarray:
    """Mirror half of the images, so that no rule can tell."""
    mirrored = np.random.default_rng(0).random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def test_digits_can_be_told_from_their_mirror_images_and_a_mixture_cannot() -> None:
    assert told(DIGITS, LABELS) > 0.9
    assert told(with_some_mirrored(DIGITS), LABELS) == pytest.approx(0.5, abs=0.05)


def test_a_class_may_be_the_mirror_image_of_another() -> None:
    sevens = DIGITS[LABELS == 7]
    images = np.concatenate([sevens, sevens[:, :, ::-1]])
    labels = np.repeat([0, 1], len(sevens))
    assert told(images, labels) > 0.9


def test_symmetric_images_and_single_ones_are_drawn() -> None:
    flat = np.full((8, 16, 16, 3), 7, np.uint8)
    assert told(flat, np.zeros(8, int)) == 0.5
    assert told(DIGITS[:3], np.arange(3)) == 0.5


@pytest.mark.slow
@pytest.mark.tfds
@pytest.mark.skipif(
    not Path(os.environ.get("TFDS_DATA_DIR", "")).joinpath("cifar10").exists(), reason="no CIFAR-10"
)
def test_photographs_cannot_be_told() -> None:
    assert load(Config(dataset="cifar10")).handedness < 0.55


def folder_of(images: np.ndarray, root: Path) -> Path:
    for place in range(400):
        folder = root / f"class {LABELS[place]}"
        folder.mkdir(parents=True, exist_ok=True)
        png = tf.io.encode_png(images[place]).numpy()
        (folder / f"{place}.png").write_bytes(png)
    return root


def test_the_images_of_a_folder_decide_and_the_user_is_told(tmp_path: Path) -> None:
    characters = folder_of(DIGITS, tmp_path / "scans")
    dataset = load(Config(dataset=str(characters)))
    assert dataset.handedness > HANDED
    assert not augmentation_for(Config(), dataset).flip
    assert augmentation_for(Config(augment=Augment(flip=True)), dataset).flip
    mixture = folder_of(with_some_mirrored(DIGITS), tmp_path / "digits of glass")
    # A name that begins as that of characters decides without a look.
    assert load(Config(dataset=str(mixture))).handedness is None
    mixture = mixture.rename(tmp_path / "glass")
    setup = set_up(Config(model="softmax", dataset=str(mixture)))
    assert setup.batches.augmentation.flip
    assert "mirrored left to right at random" in first_lines(setup, None)
    assert check_flips(setup).level == "ok"
    chosen = set_up(Config(model="softmax", dataset=str(characters), augment=Augment(flip=True)))
    assert "mirror" not in first_lines(chosen, None)
    assert check_flips(chosen).level == "warning"
