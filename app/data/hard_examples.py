"""Emphasis on hard images: from losses in training to order and weights of an epoch."""

import numpy as np

from epochal.app.config import Config, Emphasis
from epochal.app.data.order import ordered
from epochal.app.streams import order_generator

_MEMORY = 0.5  # of the moving average: what an epoch's loss leaves of the average before
_LEAST = 0.01  # of the mean loss: below, images are equally easy, and none is forgotten

# Wrong labels are suspected where the share of images worse than a guess lies between these two; of
# more than half, the labels are not what is wrong.
_FEWEST = 0.1
_MOST = 0.5
_GAP = 1.2  # ... and is at least so many times the share of those a little better than a guess
_GATHERED = (
    1.15  # ... and images farther off are so many times as many as if they went on thinning out
)


class HardExamples:
    """Record of how hard the training images have been, and the next epoch that follows.

    `losses`, float64 `[N]`, is the moving average of each image's loss over the epochs in which it
    came, NaN before the first. LeCun et al. 1998, Efficient BackProp, section 4.1, for the emphasis
    and for its danger: outliers.
    """

    def __init__(self, config: Config, labels: np.ndarray) -> None:
        self._settings = config.emphasis
        self._order = config.data.order
        self._seed = config.seed
        self._labels = labels
        self.losses = np.empty(0)
        self.reset()

    def reset(self) -> None:
        """Forget all losses."""
        self.losses = np.full(len(self._labels), np.nan)

    def learn(self, images: np.ndarray, losses: np.ndarray) -> None:
        """Take in losses of images, both `[N]`; of an image that came twice the mean counts."""
        num_images = len(self.losses)
        counts = np.bincount(images, minlength=num_images)
        sums = np.bincount(images, losses, num_images)
        means = sums / np.maximum(counts, 1)
        is_first = np.isnan(self.losses)
        before = np.where(is_first, means, self.losses)
        averages = _MEMORY * before + (1 - _MEMORY) * means
        self.losses = np.where(counts > 0, averages, self.losses)

    def arrange(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image at each position of an epoch, and its weight."""
        count = len(self.losses)
        settings = self._settings
        # A permutation with the sampler: the configuration refuses any other order there.
        places = ordered(
            self._order,
            self._labels,
            self._seed,
            epoch,
        )
        if epoch < settings.start or np.isnan(self.losses).all():
            return places, np.ones(count)
        chances = probabilities(self.losses, settings)
        if settings.by == "weights":
            return places, count * chances[places]
        offset = order_generator(self._seed, epoch).random()
        drawn = draw_images(chances, offset)
        images = drawn[places]
        weights = np.ones(count)
        if settings.unbiased:
            num_kept = np.count_nonzero(chances)
            weights = 1 / (num_kept * chances[images])
        return images, weights


def suspected(losses: np.ndarray, classes: int) -> float:
    """Return the share of images whose labels may be wrong, 0 where nothing speaks for it.

    These are above ln(classes), the loss of a guess, and more than those from three quarters of it
    on. A network that has barely learned has many there, too, but the harder the fewer: each
    quarter of a guess leaves about as large a share as the one before. Where the others were
    learned, wrong ones gather, and past a guess more are left. With a fifth of the labels wrong
    that came after two epochs of MNIST (LeNet-5) and five of CIFAR-10 (ResNet-8), with all right
    never, neither at chance nor at rates that are too high.

    Args:
        losses: cross-entropies `[N]`.
        classes: their number.
    """
    guesses = losses / np.log(classes)
    near = _share_between(guesses, 0.75, 1.0)
    past = _share_between(guesses, 1.0, 1.25)
    far = _share_between(guesses, 1.25, 1.5)
    above = float(np.mean(guesses > 1))
    is_apart = above >= _GAP * near
    is_gathered = far * near >= _GATHERED * past * min(near, past)
    if is_apart and is_gathered and _FEWEST <= above <= _MOST:
        return above
    return 0.0


def _share_between(values: np.ndarray, low: float, high: float) -> float:
    is_between = (values > low) & (values <= high)
    return float(np.mean(is_between))


def probabilities(losses: np.ndarray, emphasis: Emphasis) -> np.ndarray:
    """Return each image's chance, float64 `[N]` of sum 1: at most `cap / N`, trimmed ones 0.

    Proportional to `loss ** power` as far as the cap allows; images without a loss yet count as
    average.
    """
    average = np.nanmean(losses)
    losses = np.where(np.isnan(losses), average, losses)
    least = _LEAST * losses.mean()
    least = max(least, np.finfo(np.float32).tiny)
    shares = np.maximum(losses, least) ** emphasis.power
    trimmed = highest(losses, emphasis.trim)
    shares[trimmed] = 0
    largest = emphasis.cap / len(losses)
    return capped(shares, largest)


def highest(losses: np.ndarray, share: float) -> np.ndarray:
    """Return the places of a share of the losses, the highest; of equal ones the last."""
    count = int(share * len(losses))
    rising = np.argsort(losses, kind="stable")
    return rising[len(losses) - count :]


def capped(shares: np.ndarray, largest: float) -> np.ndarray:
    """Scale shares to the sum 1 with none above `largest`; the others get what is too much."""
    rising = np.sort(shares)
    falling = rising[::-1]
    # The sum of a share and all smaller ones.
    sum_from = np.cumsum(rising)[::-1]
    # What is left for the others when so many stand at the cap.
    left = 1 - largest * np.arange(len(shares))
    tolerance = 1 + 1e-9
    scaled = left * falling
    fits = scaled <= largest * sum_from * tolerance
    num_at_cap = int(np.argmax(fits))
    scale = left[num_at_cap] / sum_from[num_at_cap]
    return np.minimum(shares * scale, largest)


def draw_images(chances: np.ndarray, offset: float) -> np.ndarray:
    """Draw N times from N images by their probabilities, in rising order, int64 `[N]`.

    Systematic sampling with one random `offset` in [0, 1): an image comes `N p` times on average,
    and every time `N p` rounded up or down. With equal probabilities every image comes once.
    """
    count = len(chances)
    points = np.arange(count) + offset
    points = points / count
    ends = np.cumsum(chances)
    images = np.searchsorted(ends, points, side="right")
    last_possible = np.flatnonzero(chances)[-1]
    return np.minimum(images, last_possible)
