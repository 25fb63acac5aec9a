"""Emphasis on hard images: from the losses found in training to the order and the weights of an epoch."""

import numpy as np

from epochal.app.config import Config, Emphasis
from epochal.app.data.order import generator, ordered, permutation

_MEMORY = 0.5  # of the moving average: what an epoch's loss leaves of the average before
_FEWEST = 0.1
_MOST = (
    0.5  # share of images worse than a guess; of more than half, the labels are not what is wrong
)
_GAP = 1.2  # times as many as are a little better than one
_GATHERED = 1.15  # times as many as if images went on thinning out with their loss
_LEAST = 0.01  # of the mean loss: below, images are equally easy, and none is forgotten


class HardExamples:
    """How hard the training images have been, and what follows for the next epoch.

    `losses`, float64 `[N]`, is the moving average of each image's loss over the epochs in which it came, NaN before the
    first. LeCun et al. 1998, Efficient BackProp, section 4.1, for the emphasis and for its danger: outliers.
    """

    def __init__(self, config: Config, labels: np.ndarray) -> None:
        self._settings = config.emphasis
        self._order = config.data.order
        self._seed = config.seed
        self._labels = labels
        self.losses = np.empty(0)
        self.reset()

    def reset(self) -> None:
        """Forgets all losses."""
        self.losses = np.full(len(self._labels), np.nan)

    def learn(self, images: np.ndarray, losses: np.ndarray) -> None:
        """Takes in an epoch's losses `[N]`, in the order of its `images` `[N]`; one that came twice counts its mean."""
        counts = np.bincount(images, minlength=len(self.losses))
        means = np.bincount(images, losses, len(self.losses)) / np.maximum(counts, 1)
        kept = np.where(np.isnan(self.losses), means, self.losses)
        self.losses = np.where(counts > 0, _MEMORY * kept + (1 - _MEMORY) * means, self.losses)

    def arrange(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The image at each position of an epoch, and its weight; an `app.data.order.Arrange`."""
        count = len(self.losses)
        settings = self._settings
        if epoch < settings.start or np.isnan(self.losses).all():
            return ordered(self._order, self._labels, self._seed, epoch), np.ones(count)
        chances = probabilities(self.losses, settings)
        if settings.by == "weights":
            images = ordered(self._order, self._labels, self._seed, epoch)
            return images, count * chances[images]
        draws = drawn(chances, generator(self._seed, epoch).random())
        images = draws[permutation(self._seed, epoch, count)]
        kept = np.count_nonzero(chances)
        return images, 1 / (kept * chances[images]) if settings.unbiased else np.ones(count)


def suspected(losses: np.ndarray, classes: int) -> float:
    """The share of images whose labels may be wrong, 0 where nothing speaks for it, from cross-entropies `[N]`.

    These are above ln(classes), the loss of a guess, and more than those from three quarters of it on. A network that
    has barely learned has many there, too, but the harder the fewer: each quarter of a guess leaves about as large a
    share as the one before. Where the others were learned, wrong ones gather, and past a guess more are left. With a
    fifth of the labels wrong that came after two epochs of MNIST (LeNet-5) and five of CIFAR-10 (ResNet-8), with all
    right never, neither at chance nor at rates that are too high.
    """
    guesses = losses / np.log(classes)
    above = float(np.mean(guesses > 1))
    near, past, far = (
        float(np.mean((guesses > low) & (guesses <= low + 0.25))) for low in (0.75, 1.0, 1.25)
    )
    apart = above >= _GAP * near and far * near >= _GATHERED * past * min(near, past)
    return above if apart and _FEWEST <= above <= _MOST else 0.0


def probabilities(losses: np.ndarray, emphasis: Emphasis) -> np.ndarray:
    """Each image's probability of a draw, float64 `[N]`, of sum 1, at most `cap / N`, and 0 for what is trimmed.

    Proportional to `loss ** power` as far as the cap allows; images without a loss yet count as average.
    """
    losses = np.where(np.isnan(losses), np.nanmean(losses), losses)
    shares = (
        np.maximum(losses, max(_LEAST * losses.mean(), np.finfo(np.float32).tiny)) ** emphasis.power
    )
    shares[trimmed(losses, emphasis.trim)] = 0
    return capped(shares, emphasis.cap / len(losses))


def trimmed(losses: np.ndarray, share: float) -> np.ndarray:
    """The places of the highest losses, that share of them all, rounded down; of equal losses the last places."""
    return np.argsort(losses, kind="stable")[len(losses) - int(share * len(losses)) :]


def capped(shares: np.ndarray, largest: float) -> np.ndarray:
    """The shares scaled to the sum 1 with none above `largest`: what is too much goes to the others in proportion."""
    falling = np.sort(shares)[::-1]
    below = np.cumsum(falling[::-1])[::-1]  # the sum of a share and all smaller ones
    left = 1 - largest * np.arange(len(shares))  # when so many stand at the cap
    at_cap = int(np.argmax(left * falling <= largest * below * (1 + 1e-9)))
    return np.minimum(shares * (left[at_cap] / below[at_cap]), largest)


def drawn(chances: np.ndarray, offset: float) -> np.ndarray:
    """N draws from N images by their probabilities, in rising order, int64 `[N]`.

    Systematic sampling with one random `offset` in [0, 1): an image comes `N p` times on average, and every time `N p`
    rounded up or down. With equal probabilities every image comes once.
    """
    count = len(chances)
    places = np.searchsorted(np.cumsum(chances), (np.arange(count) + offset) / count, side="right")
    return np.minimum(places, np.flatnonzero(chances)[-1])
