"""Power laws of learning curves: the error over the number of images, and what more would bring."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar, nnls

from epochal.app.errors import UsageError
from epochal.app.streams import generator

LEAST_SIZES = 4  # different numbers of images: one more than the law has parameters
_EXPONENTS = np.geomspace(0.01, 2, 24)
_RESAMPLES = 200


@dataclass(frozen=True, kw_only=True)
class Point:
    """A training on part of the images.

    Attributes:
        images: that were trained on.
        error: share of the judged images that it gets wrong.
        judged: number of these.
    """

    images: int
    error: float
    judged: int


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """The law error(n) = floor + scale * n ** -exponent; none of the three is negative."""

    floor: float
    scale: float
    exponent: float

    def error(self, images: float) -> float:
        """Return the error that the law has at a number of images."""
        return float(self.floor + self.scale * images**-self.exponent)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a law says of more images.

    Attributes:
        images: their number.
        error: at that number.
        low, high: 95 % interval of it.
        gain: by which it is less than the error of the law at the most images there were.
    """

    images: int
    error: float
    low: float
    high: float
    gain: float


def fit_power_law(points: Sequence[Point]) -> PowerLaw:
    """Fit the law to trainings by least squares, each error in units of its standard deviation.

    Errors fall as a power of the number of images, down to what cannot be learned (Hestness et al.
    2017, "Deep learning scaling is predictable, empirically", arXiv:1712.00409). For each exponent
    floor and scale are those of non-negative linear least squares (Golub and Pereyra 1973, "The
    differentiation of pseudo-inverses and nonlinear least squares problems whose variables
    separate"), so that the search is along one line, from 0.01 to 2.

    Raises:
        UsageError: there are fewer than four different numbers of images.
    """
    images = np.array([point.images for point in points], float)
    errors = np.array([point.error for point in points])
    judged = np.array([point.judged for point in points])
    num_sizes = len(np.unique(images))
    if num_sizes < LEAST_SIZES:
        raise UsageError(
            f"a power law has three parameters and needs {LEAST_SIZES} different numbers of "
            f"images, got {num_sizes}; give more --shares"
        )
    most = images.max()
    sizes = images / most
    # An error of none or all still varies by as much as that of one image.
    likely = np.clip(errors, 1 / judged, 1 - 1 / judged)
    precisions = np.sqrt(judged / (likely * (1 - likely)))

    def solve(exponent: float) -> tuple[np.ndarray, float]:
        terms = np.stack([np.ones_like(sizes), sizes**-exponent], axis=1)
        return nnls(terms * precisions[:, None], errors * precisions)

    distances = [solve(exponent)[1] for exponent in _EXPONENTS]
    place = int(np.argmin(distances))
    around = _EXPONENTS[[max(place - 1, 0), min(place + 1, len(_EXPONENTS) - 1)]]
    nearest = minimize_scalar(
        lambda exponent: solve(exponent)[1],
        bounds=tuple(around),
        method="bounded",
    )
    exponent = float(nearest.x)
    (floor, reducible), _ = solve(exponent)
    return PowerLaw(
        floor=float(floor),
        scale=float(reducible * most**exponent),
        exponent=exponent,
    )


def predict_error(points: Sequence[Point], images: int, seed: int = 0) -> Prediction:
    """Return the error at a number of images, with a bootstrap's interval.

    Each of 200 resamples draws, for every number of images, as many of its trainings as there are,
    with replacement, and the errors of each anew from a binomial distribution over the images that
    judged it.

    Raises:
        UsageError: as `fit_power_law`.
    """
    law = fit_power_law(points)
    most = max(point.images for point in points)
    random = generator(seed, "learning curve")
    predicted = []
    for _ in range(_RESAMPLES):
        resampled = _resample(points, random)
        predicted.append(fit_power_law(resampled).error(images))
    low, high = np.quantile(predicted, [0.025, 0.975])
    error = law.error(images)
    return Prediction(
        images=images,
        error=error,
        low=min(float(low), error),
        high=max(float(high), error),
        gain=law.error(most) - error,
    )


def _resample(points: Sequence[Point], random: np.random.Generator) -> list[Point]:
    by_size: dict[int, list[Point]] = {}
    for point in points:
        by_size.setdefault(point.images, []).append(point)
    resampled = []
    for same_size in by_size.values():
        for chosen in random.integers(len(same_size), size=len(same_size)):
            point = same_size[chosen]
            wrong = random.binomial(point.judged, point.error)
            drawn = Point(
                images=point.images,
                error=wrong / point.judged,
                judged=point.judged,
            )
            resampled.append(drawn)
    return resampled
