"""Whether validation and test can be passed by memory: images in two splits, and what random labels show."""

import hashlib
from dataclasses import dataclass, replace

import keras
import numpy as np

from epochal.app.data.dataset import CachedImages, Split
from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.doctor.learning import SIGMAS, above_chance, accuracy_of, learn
from epochal.app.doctor.model_copy import ready, twin
from epochal.app.doctor.sample_images import images_of, plain_batches
from epochal.app.training.run.setup import Setup

_SAMPLED = 1024  # images of a split that streams from disk
_SHARED = 0.01  # of a split, from which on its images in the training split are no accident
_SHOWN = 256
_ASKED = 64  # images with random labels to learn, and at least so many to ask for
_BATCH = 64
_PASSES = 40
_RATE = 1e-3


def splits_apart(setup: Setup) -> Finding:
    """Next to no validation or test image lies in the training split, pixel for pixel."""
    known = set(_hashed(setup, setup.dataset.train).digests)
    shared = {}
    for name in ("validation", "test"):
        digests = _hashed(setup, getattr(setup.dataset, name)).digests
        shared[name] = sum(digest in known for digest in digests) / len(digests)
    told = " and ".join(f"{share:.2%} of {name}" for name, share in shared.items())
    text = f"{told} lies in the training images, too"
    return (
        warning(f"{text}; remove them from one split")
        if max(shared.values()) > _SHARED
        else ok(text)
    )


def random_labels(setup: Setup) -> Finding:
    """Random labels, learned from training images, do not turn up in validation: nothing leaks from one to the other.

    A label is drawn by an image's content, so that an image in both splits has the same one in both. Of either split
    those with the smallest digests are taken, which is where such images meet.
    """
    classes = len(setup.dataset.preprocessing.classes)
    train, validation = (
        _hashed(setup, split) for split in (setup.dataset.train, setup.dataset.validation)
    )
    shown = train.smallest(_SHOWN)
    near = sum(digest <= max(shown.digests) for digest in validation.digests)
    asked = validation.smallest(max(_ASKED, near))
    model = ready(twin(setup), keras.optimizers.Adam(_RATE))
    batches = plain_batches(setup, shown.relabelled(classes, setup.config.seed), _BATCH)
    learned = learn(model, batches, _PASSES * batches.steps)
    images, labels = images_of(setup, asked.relabelled(classes, setup.config.seed))
    accuracy = accuracy_of(model, images, labels)
    bound = above_chance(1 / classes, len(labels))
    told = f"right for {accuracy:.1%} of {len(labels)} validation images; chance and {SIGMAS} sigma are {bound:.1%}"
    if accuracy > bound:
        return error(
            f"random labels of training images were {told}: look for images that lie in both splits"
        )
    return ok(f"random labels, {learned.accuracy:.0%} of them learned, were {told}")


@dataclass(frozen=True)
class _Hashed:
    """Images and the digest of each one's pixels."""

    split: Split
    digests: list[bytes]

    def smallest(self, count: int) -> "_Hashed":
        """Those with the smallest digests."""
        chosen = sorted(range(len(self.digests)), key=self.digests.__getitem__)[:count]
        return _Hashed(
            self.split.subset(np.array(chosen)), [self.digests[place] for place in chosen]
        )

    def relabelled(self, classes: int, seed: int) -> Split:
        """The images with labels drawn by seed and digest."""
        drawn = [
            int.from_bytes(_digest(digest + seed.to_bytes(8, "big"))) % classes
            for digest in self.digests
        ]
        return replace(self.split, labels=np.array(drawn, np.int32))


def _hashed(setup: Setup, split: Split) -> _Hashed:
    """A split in memory with all its digests, or a sample of one that streams."""
    if not isinstance(split.images, CachedImages):
        split = split.subset(
            np.random.default_rng(setup.config.seed).permutation(len(split))[:_SAMPLED]
        )
    return _Hashed(split, [_digest(image.tobytes()) for image in images_of(setup, split)[0]])


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()
