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
    shares = []
    texts = []
    for name in ("validation", "test"):
        digests = _hash_images(setup, getattr(setup.dataset, name)).digests
        num_shared = sum(digest in known for digest in digests)
        share = num_shared / len(digests)
        shares.append(share)
        texts.append(f"{share:.2%} of {name}")
    text = f"{' and '.join(texts)} lies in the training images, too"
    if max(shares) > _SHARED:
        return warning(f"{text}; remove them from one split")
    return ok(text)


def check_random_labels(setup: Setup) -> Finding:
    """Check that random labels, learned from training images, do not turn up in validation.

    A label is drawn by an image's content, so that an image in both splits has the same label in
    both. Of either split the images with the smallest digests are taken, which is where such
    images meet.
    """
    classes = len(setup.dataset.preprocessing.classes)
    seed = setup.config.seed
    train = _hash_images(setup, setup.dataset.train).smallest(_TRAINED)
    validation = _hash_images(setup, setup.dataset.validation)
    largest = max(train.digests)
    num_below = sum(digest <= largest for digest in validation.digests)
    validation = validation.smallest(max(_TESTED, num_below))

    model = compile_copy(copy_model(setup), keras.optimizers.Adam(_RATE))
    batches = make_plain_batches(setup, train.relabel(classes, seed), _BATCH)
    learned = learn(model, batches, _PASSES * batches.steps)
    images, labels = read_images(setup, validation.relabel(classes, seed))
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
            number = int.from_bytes(_digest(digest + salt))
            labels.append(number % classes)
        return replace(self.split, labels=np.array(labels, np.int32))


def _hash_images(setup: Setup, split: Split) -> _HashedImages:
    """Return a split in memory with all its digests, or a sample of one that streams."""
    if not isinstance(split.images, CachedImages):
        random = generator(setup.config.seed, "doctor leaks")
        positions = random.permutation(len(split))[:_SAMPLED]
        split = split.subset(positions)
    images, _ = read_images(setup, split)
    digests = [_digest(image.tobytes()) for image in images]
    return _HashedImages(split, digests)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()
