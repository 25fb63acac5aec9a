"""How noisy the gradient of a batch is, which says what a larger batch would gain."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What is known of the gradient of the expected loss.

    Args:
        variance: of one image's gradient around it, summed over the weights; that of a batch is 1/size of it.
        signal: its squared length; not above 0 where the noise hides it.
    """

    variance: float
    signal: float

    @property
    def scale(self) -> float:
        """The images of a batch whose noise is as long as the gradient (McCandlish et al. 2018, arXiv 1812.06162, 2.2).

        Of smaller batches two nearly do the work of one twice as large; above it, more images gain ever less.
        """
        return self.variance / self.signal if self.signal > 0 else math.inf


def gradient_noise(gradients: Iterable[np.ndarray], size: int) -> Noise:
    """Estimated without bias from the mean gradients `[weights]` of at least two batches of so many images.

    Raises:
        ValueError: for fewer than two.
    """
    count = 0
    total = np.zeros(())
    squares = 0.0
    for gradient in gradients:
        exact = gradient.astype(np.float64)
        count = count + 1
        total = total + exact
        squares = squares + float(exact @ exact)
    if count < 2:
        raise ValueError(f"the noise of gradients needs at least 2 batches, got {count}.")
    length = float(total @ total) / count**2
    of_batch = (squares - count * length) / (count - 1)
    return Noise(variance=of_batch * size, signal=length - of_batch / count)
