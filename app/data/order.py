"""Which training image comes when: the orders of an epoch, as pure functions of (seed, epoch, position).

The default order is computed where a batch is made (`augment.shuffled`). The others are tables, made anew when an epoch
begins.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from epochal.app.data.augment import shuffled

_GOLDEN = (5**0.5 - 1) / 2

Arrange = Callable[
    [int], tuple[np.ndarray, np.ndarray | None]
]  # of the epoch: which image, and its weight


def ordered(order: str, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The image at each position of an epoch, int64 `[N]`.

    Args:
        order: shuffled (a new permutation every epoch), once (the first epoch's permutation, every epoch), replacement
            (each position drawn from all images) or interleaved (see `interleaved`).
        labels: int `[N]`.
        seed: of the run.
        epoch: counted from 0.
    """
    count = len(labels)
    if order == "replacement":
        return generator(seed, epoch).integers(count, size=count)
    if order == "interleaved":
        return interleaved(labels, generator(seed, epoch))
    return permutation(seed, 0 if order == "once" else epoch, count)


def generator(seed: int, epoch: int) -> np.random.Generator:
    """Random numbers of one epoch."""
    return np.random.default_rng([seed, epoch])


def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """What `augment.shuffled` gives for all positions of an epoch, int64 `[count]`."""
    return (
        shuffled(seed, tf.constant(epoch, tf.int64), tf.range(count), count)
        .numpy()
        .astype(np.int64)
    )


def interleaved(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A permutation whose neighbours have as few labels in common as is possible, int64 `[N]`.

    LeCun et al. 1998, Efficient BackProp, section 4.1: successive examples rarely belong to the same class. There are
    as many rounds as the largest class has images, and no round has two images of one class. Sorted by class, the
    largest first, image i goes into round i modulo the number of rounds; the largest class opens every round, so that
    no round ends as the next begins, in whatever order the rounds come. They come by the fractions of multiples of
    the golden ratio, which spread every run of rounds, and so every class, evenly. Within a round, images after the
    first are in random order. Where one class has more than half of all images, the least possible number of equal
    neighbours is left: 2 * largest - N - 1.
    """
    count = len(labels)
    counts = np.bincount(labels)
    rounds = int(counts.max())
    rank = np.argsort(np.lexsort((random.random(len(counts)), -counts)))
    mixed = random.permutation(count)
    by_class = mixed[np.argsort(rank[labels[mixed]], kind="stable")]
    column, row = np.divmod(np.arange(count), rounds)
    sequence = np.argsort(np.arange(rounds) * _GOLDEN % 1)
    # Rounds of a single image begin as the next one does: one of them, where there are any, comes last.
    last = random.choice(np.flatnonzero(sequence >= (count - rounds if count < 2 * rounds else 0)))
    sequence = np.roll(sequence, rounds - 1 - last)
    place = np.argsort(sequence)
    return by_class[
        np.argsort(place[row] + np.where(column > 0, (1 + random.random(count)) / 2, 0))
    ]


@dataclass(kw_only=True)
class Table:
    """An epoch's order where it is made as a whole: the image at each position, and its weight where images have any.

    `arrange` makes both from the number of the epoch; `images` is int64 `[N]`, `weights` float32 `[N]` or None.
    """

    arrange: Arrange
    images: tf.Variable = field(init=False)
    weights: tf.Variable | None = field(init=False)

    def __post_init__(self) -> None:
        images, weights = self.arrange(0)
        with tf.device("CPU:0"):  # where batches are made
            self.images = tf.Variable(images, dtype=tf.int64, trainable=False)
            self.weights = (
                None if weights is None else tf.Variable(weights, dtype=tf.float32, trainable=False)
            )

    def set(self, epoch: int) -> None:
        """Moves to an epoch."""
        images, weights = self.arrange(epoch)
        self.images.assign(images)
        if self.weights is not None:
            self.weights.assign(weights)
