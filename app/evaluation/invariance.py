"""Invariance: how often a network's prediction stays as its images are changed a little."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.ndimage import rotate

from epochal.app.config import Config
from epochal.app.data.augment.windows import cut_windows
from epochal.app.data.dataset import Dataset, Split
from epochal.app.data.load import load
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.same_files import check_same_data
from epochal.app.evaluation.logits import predict_logits
from epochal.app.evaluation.trained_model import load_trained
from epochal.app.store.run import Run
from epochal.app.streams import generator

_BLOCK = 128  # images
_SHIFTED = 16  # an image is shifted by this part of its side
_DEGREES = 5.0
_FACTORS = (0.8, 1.25)  # of brightness and of contrast
_NOISE = 8.0  # standard deviation, in levels of 0 to 255

Transform = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Invariance:
    """Predictions for changed images, against those for the images as they are.

    Attributes:
        agreement: share of images whose prediction is the same, mean over the variants.
        accuracy: over the changed images, mean over the variants.
    """

    agreement: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class InvarianceFigures:
    """Invariance of a run over its validation images.

    Attributes:
        images: their number.
        accuracy: over the images as they are.
        transforms: by the name of the transform.
    """

    images: int
    accuracy: float
    transforms: dict[str, Invariance]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {
            "validation_count": self.images,
            "validation_accuracy": self.accuracy,
        }
        for name, figures in self.transforms.items():
            values[f"{name}_agreement"] = figures.agreement
            values[f"{name}_accuracy"] = figures.accuracy
        return values


def transforms() -> Mapping[str, tuple[Transform, ...]]:
    """Return the variants of each transform of stored images, uint8 `[n, S, S, C]` to the same.

    Flip is left to right; shifts go a sixteenth of the side up, down, left and right, and what they
    uncover is mirrored; rotations are by 5 degrees either way; brightness multiplies levels by 0.8
    and by 1.25, contrast their distance from the image's mean; noise is normal, of 8 levels.
    """
    steps = ((-1, 0), (1, 0), (0, -1), (0, 1))
    return {
        "flip": (_flip,),
        "shift": tuple(partial(_shift, down=down, right=right) for down, right in steps),
        "rotation": (partial(_rotate, degrees=-_DEGREES), partial(_rotate, degrees=_DEGREES)),
        "brightness": tuple(partial(_brighten, factor=factor) for factor in _FACTORS),
        "contrast": tuple(partial(_stretch, factor=factor) for factor in _FACTORS),
        "noise": (_add_noise,),
    }


def measure_invariance(run: Run, *, load: Callable[[Config], Dataset] = load) -> InvarianceFigures:
    """Measure a finished run over its validation images; the test split is left alone.

    Goodfellow et al. 2009, "Measuring invariances in deep networks", measure single units; here it
    is the prediction.

    Raises:
        UsageError: the run has not finished or its data is not the data it was trained on.
    """
    trained = load_trained(run)
    dataset = load(trained.config)
    check_same_data(dataset, run.data_card().fingerprint, run)
    split = dataset.validation
    variants: list[Transform] = [_unchanged]
    for of_transform in transforms().values():
        variants.extend(of_transform)
    logits, _ = predict_logits(
        trained.model,
        _changed_batches(split, trained.preprocessing, variants),
    )
    predictions = logits.argmax(axis=1).reshape(len(variants), len(split))
    plain = predictions[0]
    changed = iter(predictions[1:])
    figures = {}
    for name, of_transform in transforms().items():
        of_variants = np.stack([next(changed) for _ in of_transform])
        figures[name] = Invariance(
            agreement=float(np.mean(of_variants == plain)),
            accuracy=float(np.mean(of_variants == split.labels)),
        )
    return InvarianceFigures(
        images=len(split),
        accuracy=float(np.mean(plain == split.labels)),
        transforms=figures,
    )


def format_invariance(figures: InvarianceFigures) -> str:
    """Return a line for each transform."""
    lines = [f"{'transform':12} {'agreement':>9} {'accuracy':>9}"]
    lines.append(f"{'none':12} {1:9.4f} {figures.accuracy:9.4f}")
    for name, of_transform in figures.transforms.items():
        lines.append(f"{name:12} {of_transform.agreement:9.4f} {of_transform.accuracy:9.4f}")
    lines.append(f"over {figures.images:,} validation images")
    return "\n".join(lines)


def _changed_batches(
    split: Split, shape: ImageShape, variants: list[Transform]
) -> Iterator[tuple[tf.Tensor, np.ndarray]]:
    """Yield batches of the split as each variant changes it, one variant after the other."""
    for change in variants:
        for start in range(0, len(split), _BLOCK):
            end = min(start + _BLOCK, len(split))
            block = split.subset(np.arange(start, end))
            changed = change(block.read().numpy())
            yield shape.crop(tf.constant(changed)), block.labels


def _unchanged(images: np.ndarray) -> np.ndarray:
    return images


def _flip(images: np.ndarray) -> np.ndarray:
    return images[:, :, ::-1]


def _shift(images: np.ndarray, *, down: int, right: int) -> np.ndarray:
    """Move images by a sixteenth of their side, one pixel at least."""
    side = images.shape[1]
    pixels = max(1, side // _SHIFTED)
    corner = tf.constant([-down * pixels, -right * pixels])
    corners = tf.tile(corner[None], [len(images), 1])
    shifted: np.ndarray = cut_windows(
        tf.constant(images),
        corners,
        tf.zeros([len(images)], tf.bool),
        size=side,
        border="reflect",
    ).numpy()
    return shifted


def _rotate(images: np.ndarray, *, degrees: float) -> np.ndarray:
    """Rotate images about their centres, between pixels linearly; what comes in is mirrored."""
    rotated = rotate(
        images.astype(np.float32), degrees, axes=(1, 2), reshape=False, order=1, mode="mirror"
    )
    return _levels(rotated)


def _brighten(images: np.ndarray, *, factor: float) -> np.ndarray:
    return _levels(images * np.float32(factor))


def _stretch(images: np.ndarray, *, factor: float) -> np.ndarray:
    means = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
    return _levels(means + (images - means) * np.float32(factor))


def _add_noise(images: np.ndarray) -> np.ndarray:
    random = generator(0, "noise of the invariance score")
    noise = random.normal(0, _NOISE, images.shape).astype(np.float32)
    return _levels(images + noise)


def _levels(images: np.ndarray) -> np.ndarray:
    """Return images rounded to levels, uint8."""
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)
