"""Leaks between splits: images that lie in two of them, and random labels that turn up again."""

import hashlib
from dataclasses import dataclass, replace

import keras
import numpy as np

from epochal.app.data.dataset import CachedImages, Split
from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.doctor.learning import SIGMAS, chance_bound, learn, measure_accuracy
from epochal.app.doctor.model_copy import compile_copy, copy_model
from epochal.app.doctor.sample_images import make_plain_batches, read_images
from epochal.app.streams import generator
from epochal.app.training.run.setup import Setup

_SAMPLED = 1024  # images of a split that streams from disk
_SHARED = 0.01  # of a split; more in the training split are no accident
_TRAINED = 256  # training images with random labels
_TESTED = 64  # validation images whose random labels are predicted, at least
_BATCH = 64
_PASSES = 40
_RATE = 1e-3


def check_splits(setup: Setup) -> Finding:
    """Check that next to no validation or test image lies in the training split, bit for bit."""
    known = set(_hash_images(setup, setup.dataset.train).digests)
    validation = _share_known(setup, setup.dataset.validation, known)
    test = _share_known(setup, setup.dataset.test, known)
    text = f"{validation:.2%} of validation and {test:.2%} of test lies in the training images, too"
    if max(validation, test) > _SHARED:
        return warning(f"{text}; remove them from one split")
    return ok(text)


def _share_known(setup: Setup, split: Split, known: set[bytes]) -> float:
    """Return the share of a split's images whose digests are among those that are known."""
    digests = _hash_images(setup, split).digests
    num_known = 0
    for digest in digests:
        num_known += digest in known
    return num_known / len(digests)


def check_random_labels(setup: Setup) -> Finding:
    """Check that random labels, learned from training images, do not turn up in validation.

    A label is drawn by an image's content, so that an image in both splits has the same label in
    both. Of either split the images with the smallest digests are taken, which is where such
    images meet.
    """
    dataset = setup.dataset
    classes = len(dataset.preprocessing.classes)
    seed = setup.config.seed
    train = _hash_images(setup, dataset.train).smallest(_TRAINED)
    validation = _hash_images(setup, dataset.validation)
    largest = max(train.digests)
    num_below = sum(digest <= largest for digest in validation.digests)
    validation = validation.smallest(max(_TESTED, num_below))

    optimizer = keras.optimizers.Adam(_RATE)
    model = compile_copy(copy_model(setup), optimizer)
    train_split = train.relabel(classes, seed)
    batches = make_plain_batches(setup, train_split, _BATCH)
    learned = learn(model, batches, _PASSES * batches.steps)
    validation_split = validation.relabel(classes, seed)
    images, labels = read_images(setup, validation_split)
    accuracy = measure_accuracy(model, images, labels)
    bound = chance_bound(1 / classes, len(labels))
    text = (
        f"right for {accuracy:.1%} of {len(labels)} validation images; "
        f"chance and {SIGMAS} sigma are {bound:.1%}"
    )
    if accuracy > bound:
        return error(
            f"random labels of training images were {text}: look for images that lie in both splits"
        )
    return ok(f"random labels, {learned.accuracy:.0%} of them learned, were {text}")


@dataclass(frozen=True)
class _HashedImages:
    """Images, and a digest of the pixels of each."""

    split: Split
    digests: list[bytes]

    def smallest(self, count: int) -> "_HashedImages":
        """Return the images with the smallest digests."""
        order = sorted(range(len(self.digests)), key=self.digests.__getitem__)
        positions = order[:count]
        digests = [self.digests[position] for position in positions]
        return _HashedImages(self.split.subset(np.array(positions)), digests)

    def relabel(self, classes: int, seed: int) -> Split:
        """Return the images with labels drawn by seed and digest."""
        salt = seed.to_bytes(8, "big")
        labels = []
        for digest in self.digests:
            salted = _digest(digest + salt)
            labels.append(int.from_bytes(salted) % classes)
        return replace(self.split, labels=np.array(labels, np.int32))


def _hash_images(setup: Setup, split: Split) -> _HashedImages:
    """Return a split in memory with all its digests, or a sample of one that streams."""
    if not isinstance(split.images, CachedImages):
        random = generator(setup.config.seed, "doctor leaks")
        order = random.permutation(len(split))
        split = split.subset(order[:_SAMPLED])
    images, _ = read_images(setup, split)
    digests = []
    for image in images:
        digests.append(_digest(image.tobytes()))
    return _HashedImages(split, digests)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()
