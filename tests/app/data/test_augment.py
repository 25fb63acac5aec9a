"""Augmentation of batches: windows, mirroring, and all changes together, against NumPy."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from epochal.app.config import Augment, Config
from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.augment.colour import Colour
from epochal.app.data.augment.configured import augmentation_for
from epochal.app.data.augment.elastic import Elastic
from epochal.app.data.augment.erasing import Cutout, Erasing
from epochal.app.data.augment.noise import Blur, Noise
from epochal.app.data.augment.warp import ResizedCrop, Warp
from epochal.app.data.augment.windows import cut_windows
from epochal.app.data.dataset import CachedImages, Dataset, Split
from epochal.app.data.pipeline import Position, TrainingBatches
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import UsageError
from epochal.app.training.run.first_lines import first_lines
from epochal.app.training.run.setup import set_up
from tests.support.drawn import drawn

SIDE = 20
MEAN = (100.0, 110.0, 120.0)
WARP = Warp(
    image_size=16,
    rotate=20,
    translate=0.1,
    shear=10,
    zoom=0.2,
    resized_crop=ResizedCrop(least_area=0.3),
    elastic=Elastic(alpha=20.0, sigma=3.0),
)
CHANGES = (
    Colour(
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        grey=0.2,
        pca=0.1,
        axes=((0.0, 0.0, 0.0), (0.01, -0.01, 0.0), (0.1, 0.1, 0.1)),
    ),
    Blur(sigma=1.0),
    Noise(deviations=(5.0, 5.0, 5.0), copies_only=True),
    Erasing(share=0.5, colour=MEAN),
    Cutout(side=0.2, colour=MEAN),
)
EVERYTHING = {
    "bent": Augmentation(
        stored_size=SIDE,
        image_size=16,
        flip="alternating",
        flip_vertical=True,
        warp=WARP,
        changes=CHANGES,
        noisy_copies=1,
    ),
    "padded": Augmentation(
        stored_size=SIDE,
        image_size=SIDE,
        pad=3,
        flip="random",
        warp=replace(WARP, image_size=SIDE, elastic=None, resized_crop=None, border="black"),
        border="black",
        changes=CHANGES,
        noisy_copies=1,
    ),
}
MODES = {"reflect": "reflect", "black": "constant"}


@settings(max_examples=30)
@given(st.integers(3, 9), st.data())
def test_a_window_equals_numpys(side: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, side))
    border = data.draw(st.sampled_from(sorted(MODES)))
    pad = data.draw(st.integers(0, side - 1))
    images = np.random.default_rng(side).integers(1, 256, (4, side, side, 2), dtype=np.uint8)
    corners = np.array(
        [[data.draw(st.integers(-pad, side + pad - size)) for _ in range(2)] for _ in range(4)],
        np.int32,
    )
    mirrored = np.array([False, True, False, True])
    windows = cut_windows(images, corners, mirrored, size=size, border=border).numpy()
    padded = np.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)], MODES[border])
    for image, (top, left), flip, cut in zip(padded, corners + pad, mirrored, windows, strict=True):
        expected = image[top : top + size, left : left + size]
        np.testing.assert_array_equal(cut, expected[:, ::-1] if flip else expected)


def test_black_pads_and_reflections_do_not() -> None:
    images = tf.fill([64, 6, 6, 1], tf.constant(200, tf.uint8))
    least = {}
    for border in MODES:
        augmented = Augmentation(stored_size=6, image_size=6, pad=2, border=border)(
            images, drawn(0, 64)
        )
        least[border] = int(tf.reduce_min(augmented))
    assert least == {"reflect": 200, "black": 0}


def photographs(count: int, *, side: int = SIDE, channels: int = 3) -> Split:
    """Return random images; those of the split are in the store's order, backwards."""
    images = np.random.default_rng(2).integers(50, 200, (count, side, side, channels), np.uint8)
    return Split(
        images=CachedImages(tf.constant(images)),
        indices=np.arange(count)[::-1],
        labels=np.arange(count, dtype=np.int32),
    )


def batches_of(augmentation: Augmentation, batch_size: int) -> TrainingBatches:
    """Return batches of 7 images and 7 noisy copies."""
    return TrainingBatches(
        split=photographs(7).subset(np.tile(np.arange(7), 2)),
        batch_size=batch_size,
        augmentation=augmentation,
        seed=3,
        position=Position(),
    )


def epoch_of(augmentation: Augmentation, batch_size: int, epoch: int, start: int = 0) -> np.ndarray:
    """Return the images of an epoch as tf.data gives them, from a step on."""
    batches = batches_of(augmentation, batch_size)
    batches.position.set(epoch, start)
    steps = batches.steps - start
    return np.concatenate([images for images, _ in batches.dataset().take(steps)])


@pytest.mark.parametrize("name", EVERYTHING)
def test_batch_size_and_resuming_change_no_image(name: str) -> None:
    augmentation = EVERYTHING[name]
    whole = epoch_of(augmentation, 14, 5)
    assert whole.dtype == np.uint8
    assert len(np.unique(whole.reshape(14, -1), axis=0)) == 14
    np.testing.assert_array_equal(epoch_of(augmentation, 3, 5), whole)
    np.testing.assert_array_equal(epoch_of(augmentation, 4, 5, start=2), whole[7:])
    assert (epoch_of(augmentation, 14, 6) != whole).any()


class Replicas:
    """Stands for a strategy of three replicas, whose parts of all batches come in order."""

    num_replicas_in_sync = 3

    def distribute_datasets_from_function(self, make_parts: Callable) -> SimpleNamespace:
        """Return the parts as TensorFlow would distribute them."""
        parts = make_parts(self)
        return SimpleNamespace(parts=parts, cardinality=int(parts.cardinality()))


def test_replicas_see_the_same_images() -> None:
    augmentation = EVERYTHING["bent"]
    batches = batches_of(augmentation, 5)
    batches.position.set(5)
    parts = batches.dataset(Replicas()).parts
    found = np.concatenate([images for images, _ in parts])
    np.testing.assert_array_equal(found, epoch_of(augmentation, 14, 5))


@pytest.mark.parametrize("name", EVERYTHING)
def test_tf_data_and_eager_calls_give_the_same(name: str) -> None:
    augmentation = EVERYTHING[name]
    images = photographs(6).read()

    @tf.autograph.experimental.do_not_convert
    def augment(epoch: tf.Tensor) -> tf.Tensor:
        return augmentation(images, replace(drawn(0, 6), epoch=epoch))

    in_graph = next(iter(tf.data.Dataset.range(9, 10).map(augment)))
    np.testing.assert_array_equal(in_graph, augment(tf.constant(9, tf.int64)))


def test_crops_lie_anywhere_alike() -> None:
    # 33 x 33 places, as of 224 pixels out of 256.
    rows, columns = np.meshgrid(range(40), range(40), indexing="ij")
    places = np.stack([rows, columns], axis=-1).astype(np.uint8)
    images = np.broadcast_to(places, (33 * 33 * 10, 40, 40, 2))
    crops = Augmentation(stored_size=40, image_size=8)(images, drawn(0, len(images))).numpy()
    corners = crops[:, 0, 0].astype(int)
    np.testing.assert_array_equal(corners + 7, crops[:, 7, 7])
    counts = np.bincount(corners[:, 0] * 33 + corners[:, 1], minlength=33 * 33)
    assert len(counts) == 33 * 33
    assert stats.chisquare(counts).pvalue > 0.001


def test_alternating_mirrors_each_image_every_other_epoch() -> None:
    augmentation = Augmentation(stored_size=2, image_size=2, flip="alternating")
    image = np.array([[[0], [1]], [[0], [1]]], np.uint8)
    mirrored = []
    for epoch in range(4):
        # The image comes at another position in each epoch.
        draws = drawn(epoch, epoch + 200, epoch=epoch, images=100)
        seen = augmentation(np.broadcast_to(image, (200, 2, 2, 1)), draws).numpy()[:, 0, 0, 0]
        by_image = np.empty(100, bool)
        by_image[draws.images] = seen
        mirrored.append(by_image)
    assert 35 < mirrored[0].sum() < 65
    np.testing.assert_array_equal(mirrored[1], ~mirrored[0])
    np.testing.assert_array_equal(mirrored[2], mirrored[0])
    np.testing.assert_array_equal(mirrored[3], mirrored[1])


@pytest.mark.parametrize(("axis", "options"), [(2, {"flip": True}), (1, {"flip_vertical": True})])
def test_half_of_the_images_are_mirrored_along_an_axis(axis: int, options: dict) -> None:
    images = photographs(400, side=4).read().numpy()
    seen = Augmentation(stored_size=4, image_size=4, **options)(images, drawn(0, 400)).numpy()
    other = np.flip(images, axis)
    is_mirrored = np.all(seen == other, axis=(1, 2, 3))
    assert stats.binomtest(int(is_mirrored.sum()), 400).pvalue > 0.001
    np.testing.assert_array_equal(seen[~is_mirrored], images[~is_mirrored])


def dataset_of(train: Split, test: Split | None = None) -> Dataset:
    """Return a data set of these images."""
    _, side, _, channels = train.images.tensor.shape
    preprocessing = Preprocessing(
        classes=("a", "b"),
        channels=channels,
        stored_size=side,
        image_size=side,
        mean=MEAN[:channels],
        deviation=MEAN[:channels],
    )
    return Dataset(
        name="some",
        train=train,
        validation=test or train,
        test=test or train,
        preprocessing=preprocessing,
        flippable=True,
    )


def test_components_of_colours_are_those_of_training_images_alone() -> None:
    images = tf.concat(
        [photographs(30).images.tensor, tf.fill([5, SIDE, SIDE, 3], tf.constant(255, tf.uint8))],
        axis=0,
    )
    store = CachedImages(images)
    train = Split(store, np.arange(30), np.zeros(30, np.int32))
    test = Split(store, np.arange(30, 35), np.zeros(5, np.int32))
    config = Config(augment=Augment(pca_colour=0.1))
    colour = augmentation_for(config, dataset_of(train, test)).changes[0]
    pixels = train.read().numpy().reshape(-1, 3) / 255
    values = np.linalg.eigvalsh(np.cov(pixels.T, bias=True))
    np.testing.assert_allclose(np.linalg.norm(colour.axes, axis=1), values, rtol=1e-6)


UNFIT = {
    "more padding than image": (Augment(pad_crop=8), 8, 1, "less than their side"),
    "elastic of few pixels": (Augment(elastic=34.0), 8, 3, "elastic-sigma 2 or less"),
    "blur of few pixels": (Augment(blur=3.0), 8, 3, "less than a quarter of their side"),
    "hue of grey images": (Augment(hue=0.1), 8, 1, "give --augment.hue 0"),
    "components of grey images": (Augment(pca_colour=0.1), 8, 1, "give --augment.pca-colour 0"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_the_images_is_refused(name: str) -> None:
    augment, side, channels, message = UNFIT[name]
    dataset = dataset_of(photographs(3, side=side, channels=channels))
    with pytest.raises(UsageError, match=message):
        augmentation_for(Config(augment=augment), dataset)


def test_the_default_only_crops_and_mirrors() -> None:
    augmentation = augmentation_for(Config(), dataset_of(photographs(3)))
    assert augmentation == Augmentation(stored_size=SIDE, image_size=SIDE, pad=2, flip=True)


def test_every_setting_changes_the_augmentation() -> None:
    dataset = dataset_of(photographs(3))
    plain = augmentation_for(Config(), dataset)
    values = {
        "pad_crop": 1,
        "border": "black",
        "flip": "alternating",
        "flip_vertical": True,
        "resized_crop": 0.5,
        "elastic": 1.0,
        **dict.fromkeys(("rotate", "translate", "shear", "zoom"), 0.1),
        **dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.1),
        **dict.fromkeys(("grey", "pca_colour", "blur", "noise", "erase", "cutout"), 0.1),
    }
    found = [plain]
    for name, value in values.items():
        augmented = augmentation_for(Config(augment=Augment(**{name: value})), dataset)
        assert augmented not in found, name
        found.append(augmented)


def test_noisy_copies_enlarge_the_epoch_and_alone_are_noisy() -> None:
    still = Augment(pad_crop=0, noise=0.5, noisy_copies=2)
    setup = set_up(Config(model="softmax", augment=still))
    batches = setup.batches
    count = len(setup.dataset.train)
    assert len(batches.split) == 3 * count
    originals = setup.dataset.train.read().numpy()
    known = [image.tobytes() for image in originals]
    clean = []
    noisy = []
    for images, _ in batches.dataset():
        for image in images.numpy():
            kind = clean if image.tobytes() in known else noisy
            kind.append(image.tobytes())
    assert sorted(clean) == sorted(known)
    assert len(set(noisy)) == len(noisy) == 2 * count


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (Augment(flip=True), "other characters"),
        (Augment(flip_vertical=True), "upside down"),
        (Augment(), None),
    ],
    ids=["characters mirrored", "upside down", "default"],
)
def test_mirrored_characters_and_images_upside_down_are_warned_of(
    augment: Augment, words: str | None
) -> None:
    lines = first_lines(set_up(Config(model="softmax", augment=augment)), None).split("\n")
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]
