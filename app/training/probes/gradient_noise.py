"""Noise of gradients: how much batches differ, which says what a larger one would gain."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Estimates of how gradients of single images scatter around that of the expected loss.

    Args:
        variance: of one image's gradient around it, summed over the weights; that of a batch is
            1/size of it
        signal: its squared length; not above 0 where the noise hides it
    """

    variance: float
    signal: float

    @property
    def scale(self) -> float:
        """Images of a batch whose noise is as long as the gradient (McCandlish et al. 2018).

        Of smaller batches two nearly do the work of one twice as large; above it, more images gain
        ever less (arXiv:1812.06162, section 2.2).
        """
        if not self.signal > 0:
            return math.inf
        return self.variance / self.signal


def gradient_noise(gradients: Iterable[np.ndarray], size: int) -> Noise:
    """Return an unbiased estimate from the mean gradients `[weights]` of batches of `size` images.

    Raises:
        ValueError: for fewer than two.
    """
    count = 0
    total = np.zeros(())
    sum_of_squares = 0.0
    for gradient in gradients:
        exact = gradient.astype(np.float64)
        square = float(exact @ exact)
        count = count + 1
        total = total + exact
        sum_of_squares = sum_of_squares + square
    if count < 2:
        raise ValueError(f"the noise of gradients needs at least 2 batches, got {count}.")
    square_of_mean = float(total @ total) / count**2
    deviations = sum_of_squares - count * square_of_mean
    variance_of_batch = deviations / (count - 1)
    variance_of_mean = variance_of_batch / count
    return Noise(
        variance=variance_of_batch * size,
        signal=square_of_mean - variance_of_mean,
    )
