"""Orders of an epoch: which image comes when, a pure function of (seed, epoch, position).

The default order is computed where a batch is made (`augment.draws.shuffled`). The others are
tables, made anew when an epoch begins.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from epochal.app.data.augment.draws import shuffled
from epochal.app.streams import generator, order_generator

_GOLDEN = (5**0.5 - 1) / 2

# From the epoch to the image at each of its positions, and their weights or None.
Arrange = Callable[[int], tuple[np.ndarray, np.ndarray | None]]


def ordered(order: str, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return the image at each position of an epoch, int64 `[N]`.

    Args:
        order: shuffled (a new permutation every epoch), once (the first epoch's permutation, every
            epoch), replacement (each position drawn from all images), interleaved or balanced (see
            the functions of these names).
        labels: int `[N]`.
        seed: of the run.
        epoch: counted from 0.
    """
    count = len(labels)
    random = order_generator(seed, epoch)
    if order == "replacement":
        return random.integers(count, size=count)
    if order == "interleaved":
        return interleaved(labels, random)
    if order == "balanced":
        return balanced(labels, seed, epoch)
    if order == "once":
        return permutation(seed, 0, count)
    return permutation(seed, epoch, count)


def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return what `augment.draws.shuffled` gives for all positions of an epoch, int64 `[count]`."""
    images = shuffled(
        seed,
        tf.constant(epoch, tf.int64),
        tf.range(count),
        count,
    )
    return images.numpy().astype(np.int64)


def interleaved(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a permutation, int64 `[N]`, with as few equal labels side by side as possible.

    LeCun et al. 1998, Efficient BackProp, section 4.1: successive examples rarely belong to the
    same class. There are as many rounds as the largest class has images, and no round has two
    images of one class. Sorted by class, the largest first, image i goes into round i modulo the
    number of rounds; the largest class opens every round, so that no round ends as the next begins,
    in whatever order the rounds come. They come by the fractions of multiples of the golden ratio,
    which spread every run of rounds, and so every class, evenly. Within a round, images after the
    first are in random order. Where one class has more than half of all images, the least possible
    number of equal neighbours is left: 2 * largest - N - 1.
    """
    count = len(labels)
    counts = np.bincount(labels)
    num_rounds = int(counts.max())
    ties = random.random(len(counts))
    class_order = np.lexsort((ties, -counts))
    rank = np.argsort(class_order)
    mixed = random.permutation(count)
    ranks = rank[labels[mixed]]
    by_class = mixed[np.argsort(ranks, kind="stable")]
    place_in_round, round_of = np.divmod(np.arange(count), num_rounds)
    fractions = np.arange(num_rounds) * _GOLDEN % 1
    sequence = np.argsort(fractions)
    # A round of a single image begins as the next round does: if there are any such, one of them
    # comes last.
    first_single = 0
    if count < 2 * num_rounds:
        first_single = count - num_rounds
    possible_last = np.flatnonzero(sequence >= first_single)
    last = random.choice(possible_last)
    sequence = np.roll(sequence, num_rounds - 1 - last)
    place = np.argsort(sequence)
    # Between a half and one, behind the first image of the round.
    later = (1 + random.random(count)) / 2
    within_round = np.where(place_in_round > 0, later, 0)
    position = place[round_of] + within_round
    return by_class[np.argsort(position)]


def balanced(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return N images of an epoch, int64 `[N]`, in which every class comes equally often.

    Numbers of draws of two classes differ by at most one in an epoch, and over as many epochs as
    there are classes not at all: the draws of all epochs go round the classes. A class goes through
    its images in a new order each time, across epochs: up to any epoch two images of a class were
    drawn equally often, or one of them once more. Where all classes have as many images, an epoch
    has every image once. Classes without images are not drawn.

    Class-balanced sampling, as of Kang et al. 2020, "Decoupling representation and classifier for
    long-tailed recognition" (arXiv:1910.09217), section 3, but without chance in the counts.
    """
    count = len(labels)
    classes = np.unique(labels)
    turns = generator(seed, "turns of classes").permutation(len(classes))
    chosen = []
    for turn, label in zip(turns, classes, strict=True):
        members = np.flatnonzero(labels == label)
        first = _draws_of_turn(int(turn), len(classes), count * epoch)
        end = _draws_of_turn(int(turn), len(classes), count * (epoch + 1))
        chosen.append(_next_members(members, seed, int(label), first, end))
    images = np.concatenate(chosen)
    random = generator(seed, "balanced order", epoch)
    shuffled_images: np.ndarray = random.permutation(images)
    return shuffled_images


def _draws_of_turn(turn: int, num_classes: int, draws: int) -> int:
    """Return how many of the first `draws` fall to a class whose turn it is at `turn`, from 0."""
    return (draws - turn + num_classes - 1) // num_classes


def _next_members(members: np.ndarray, seed: int, label: int, first: int, end: int) -> np.ndarray:
    """Return draws `first` to before `end` of an endless row of permutations of the members."""
    count = len(members)
    rounds = [members[:0]]
    for number in range(first // count, -(-end // count)):
        random = generator(seed, "images of a class", label, number)
        rounds.append(random.permutation(members))
    skipped = first - first // count * count
    drawn = np.concatenate(rounds)
    return drawn[skipped : skipped + end - first]


@dataclass(kw_only=True)
class Table:
    """The order of an epoch as variables that batches are made from.

    Attributes:
        arrange: makes both of the following from the number of the epoch.
        images: the image at each position, int64 `[N]`.
        weights: of the images at these positions, float32 `[N]`, or None.
    """

    arrange: Arrange
    images: tf.Variable = field(init=False)
    weights: tf.Variable | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        images, weights = self.arrange(0)
        with tf.device("CPU:0"):  # where batches are made
            self.images = tf.Variable(
                images,
                dtype=tf.int64,
                trainable=False,
            )
            if weights is not None:
                self.weights = tf.Variable(
                    weights,
                    dtype=tf.float32,
                    trainable=False,
                )

    def set(self, epoch: int) -> None:
        """Move to an epoch."""
        images, weights = self.arrange(epoch)
        self.images.assign(images)
        if self.weights is not None:
            self.weights.assign(weights)
