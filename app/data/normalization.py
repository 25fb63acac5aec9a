"""Normalisation by features: the statistics of pixels, PCA, whitening and ZCA.

Each is an affine map of the D = H * W * C values that a network sees of an image. They are fitted
to the training split alone, without augmentation.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from epochal.app.config import Data
from epochal.app.data.dataset import Split
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.data.preprocessing import ImageShape, Preprocessing
from epochal.app.data.statistics import sample_of
from epochal.app.errors import StorageError, UsageError
from epochal.app.store.run import Run

# The matrix of as many features, in float64, takes 134 MB, and its eigenvectors minutes.
_MOST_FEATURES = 4096
_NO_VARIANCE = 1e-10  # of the mean variance
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalization:
    """An affine map of an image's features.

    Attributes:
        kind: pixel, pca, whiten or zca.
        mean: what is subtracted, float32 `[D]`, in levels from 0 to 255.
        factors: what is multiplied by: float32 `[D]` (pixel), `[D, k]` (k components) or `[D, D]`.
    """

    kind: str
    mean: np.ndarray
    factors: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, as a run keeps them."""
        return {"mean": self.mean, "factors": self.factors}

    @classmethod
    def from_arrays(
        cls, kind: str, arrays: Mapping[str, np.ndarray], place: object
    ) -> "Normalization":
        """Return what `arrays` gave.

        Args:
            kind: of the normalisation.
            arrays: read from a file.
            place: of that file, for messages.

        Raises:
            StorageError: an array is missing, of another dtype or shape, or not finite.
        """
        if set(arrays) != {"mean", "factors"}:
            raise StorageError(f"{place}: expected the arrays mean and factors; use another run")
        mean = arrays["mean"]
        factors = arrays["factors"]
        fits = mean.ndim == 1 and factors.shape[:1] == mean.shape
        fits = fits and factors.ndim == (1 if kind == "pixel" else 2)
        fits = fits and mean.dtype == factors.dtype == np.float32
        if not fits or not np.isfinite(mean).all() or not np.isfinite(factors).all():
            raise StorageError(
                f"{place}: mean and factors are no finite float32 arrays of a {kind} "
                "normalisation; use another run"
            )
        return cls(kind=kind, mean=mean, factors=factors)


def normalization_of(run: Run) -> Normalization | None:
    """Read what a run's network reads images by; None where its data card's mean and deviation do.

    Raises:
        StorageError: the arrays are missing or damaged.
    """
    kind = run.data_card().normalization
    if kind is None:
        return None
    return Normalization.from_arrays(
        kind,
        run.normalization_values(),
        run.normalization_arrays,
    )


def preprocessing_of(run: Run) -> Preprocessing:
    """Read all that turns a file into what a run's network was trained on.

    Raises:
        StorageError: data card or arrays are missing or damaged.
    """
    return Preprocessing.from_card(run.data_card(), normalization_of(run))


def fit_normalization(
    split: Split, shape: ImageShape, settings: Data, seed: int
) -> Normalization | None:
    """Fit the configured normalisation to a split; None where a mean a channel is all there is.

    The covariance is summed up in float64 over blocks of images, so that memory is that of a matrix
    of features. Variances that are divided by have `data.epsilon` of the mean one added.

    Args:
        split: of training images; of a larger streamed one, 20,000 are read.
        shape: of the images; what the network sees is their centre.
        settings: with the kind, the number of components and epsilon.
        seed: of the run; chooses the sample.

    Raises:
        UsageError: there are too many features, or fewer than components.
    """
    kind = settings.normalization
    if kind in ("channel", "minmax"):
        return None
    num_features = math.prod(shape.input_shape)
    components = settings.components or num_features
    if kind != "pixel":
        _check_features(kind, num_features, components, shape)
    split = sample_of(split, seed)
    _LOG.info(f"fitting data.normalization {kind} to {len(split):,} training images ...")
    if kind == "pixel":
        mean, variance = _moments(split, shape, products=False)
        typical = _typical(variance)
        added = variance + settings.epsilon * typical
        is_constant = variance <= _NO_VARIANCE * typical
        factors = 1 / np.sqrt(np.where(is_constant, typical, added))
    else:
        mean, covariance = _moments(split, shape, products=True)
        factors = _factors(kind, covariance, components, settings.epsilon)
    return Normalization(
        kind=kind,
        mean=mean.astype(np.float32),
        factors=factors.astype(np.float32),
    )


def _check_features(kind: str, num_features: int, components: int, shape: ImageShape) -> None:
    size = f"{shape.image_size} x {shape.image_size} pixels and {shape.channels} channel(s)"
    if num_features > _MOST_FEATURES:
        raise UsageError(
            f"data.normalization {kind}: images of {size} have {num_features:,} features, expected "
            f"at most {_MOST_FEATURES:,}; give a smaller --image-size, or pixel or channel"
        )
    if components > num_features:
        raise UsageError(
            f"data.components: {components:,} of images of {size}, which have {num_features:,} "
            "features; give no more than these"
        )


def _typical(variance: np.ndarray) -> float:
    """Return the mean variance, 1 where nothing varies."""
    return float(variance.mean()) or 1.0


def _moments(split: Split, shape: ImageShape, *, products: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return mean `[D]` and covariance `[D, D]` of the features, or without products variances.

    Sums of squares of levels are whole numbers below 2**53: in float64 they are exact, so that the
    size of a block changes nothing.
    """
    num_features = math.prod(shape.input_shape)
    sums = np.zeros(num_features)
    square_shape = (num_features, num_features) if products else (num_features,)
    squares = np.zeros(square_shape)
    for images, _ in evaluation_batches(split, shape).as_numpy_iterator():
        block = images.reshape(len(images), num_features).astype(np.float64)
        sums += block.sum(axis=0)
        if products:
            squares += block.T @ block
        else:
            squares += (block**2).sum(axis=0)
    mean = sums / len(split)
    if products:
        return mean, squares / len(split) - np.outer(mean, mean)
    return mean, np.maximum(squares / len(split) - mean**2, 0)


def _factors(kind: str, covariance: np.ndarray, components: int, epsilon: float) -> np.ndarray:
    """Return the matrix of PCA, whitening or ZCA for a covariance.

    Directions in which no image varies are left out: what a test image shows there would be
    magnified without bound. PCA divides by the root of the mean variance alone, so that values are
    of the size of standardised ones. Each eigenvector's largest entry is positive, since its sign
    is free.
    """
    typical = _typical(np.diag(covariance))
    variances, vectors = np.linalg.eigh(covariance)
    variances = variances[::-1][:components]
    vectors = vectors[:, ::-1][:, :components]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(components)])
    vectors = vectors * signs
    if kind == "pca":
        return vectors / np.sqrt(typical)
    varies = variances > _NO_VARIANCE * typical
    divisors = np.sqrt(np.where(varies, variances + epsilon * typical, 1.0))
    scales = np.where(varies, 1 / divisors, 0.0)
    whitening = vectors * scales
    if kind == "whiten":
        return whitening
    return whitening @ vectors.T
