"""The augmentation that a configuration describes, as it suits a data set."""

from epochal.app.config import Augment, Config
from epochal.app.data.augment.augmentation import Augmentation, Change
from epochal.app.data.augment.colour import Colour, colour_axes
from epochal.app.data.augment.elastic import Elastic
from epochal.app.data.augment.erasing import Cutout, Erasing
from epochal.app.data.augment.noise import Blur, Noise
from epochal.app.data.augment.rand_augment import WIDE, RandAugment, usual_ranges
from epochal.app.data.augment.smoothing import reach_of
from epochal.app.data.augment.warp import ResizedCrop, Warp
from epochal.app.data.dataset import Dataset
from epochal.app.data.preprocessing import ImageShape, Preprocessing
from epochal.app.data.sources.shared import LARGEST_PADDED
from epochal.app.data.statistics import channel_covariance, mean_and_deviation
from epochal.app.errors import UsageError

_SIGMAS_A_SIDE = 4  # of elastic's Gaussian, at least: else an image moves as a whole


def augmentation_for(config: Config, dataset: Dataset) -> Augmentation:
    """Return the configured augmentation, what it leaves open decided by the data set.

    The principal components of colours are those of the training split alone.

    Raises:
        UsageError: an augmentation does not fit the images.
    """
    augment = config.augment
    preprocessing = dataset.preprocessing
    _check_fit(augment, preprocessing)
    flip = augment.flip
    if flip is None:
        flip = dataset.flippable
    return Augmentation(
        stored_size=preprocessing.stored_size,
        image_size=preprocessing.image_size,
        pad=padding_for(config, preprocessing),
        border=augment.border,
        flip=flip,
        flip_vertical=augment.flip_vertical,
        warp=_warp(augment, preprocessing),
        changes=_changes(config, dataset),
        noisy_copies=augment.noisy_copies,
    )


def _check_fit(augment: Augment, preprocessing: Preprocessing) -> None:
    side = preprocessing.image_size
    sigma = augment.elastic_sigma
    if augment.elastic and side < _SIGMAS_A_SIDE * sigma:
        raise UsageError(
            f"augment.elastic: images of {side} pixels are too small for displacements smoothed "
            f"over {sigma:g}; give --augment.elastic-sigma {side / _SIGMAS_A_SIDE:g} or less"
        )
    if augment.blur and reach_of(augment.blur) >= side:
        raise UsageError(
            f"augment.blur: a Gaussian of {augment.blur:g} pixels does not fit images of {side}; "
            "give less than a quarter of their side"
        )
    for name in ("saturation", "hue", "grey", "pca_colour"):
        if getattr(augment, name) and preprocessing.channels == 1:
            flag = name.replace("_", "-")
            raise UsageError(
                f"augment.{name}: the images are grey and have no colours to change; "
                f"give --augment.{flag} 0"
            )


def padding_for(config: Config, shape: ImageShape) -> int:
    """Return by how many pixels training pads an image on each side before it crops.

    Raises:
        UsageError: that is more than the image's side.
    """
    augment = config.augment
    stored_size = shape.stored_size
    pad = augment.pad_crop
    if pad is None:
        pad = 0
        is_padded = stored_size == shape.image_size <= LARGEST_PADDED
        if is_padded and augment.resized_crop is None:
            pad = shape.image_size // 8
    if pad >= stored_size:
        raise UsageError(
            f"augment.pad_crop: {pad} pixels around images of {stored_size}; "
            "give less than their side"
        )
    return pad


def _warp(augment: Augment, preprocessing: Preprocessing) -> Warp | None:
    """Return the warp; None where images are cropped and mirrored alone."""
    resized_crop = None
    if augment.resized_crop is not None:
        resized_crop = ResizedCrop(least_area=augment.resized_crop, ratio=augment.crop_ratio)
    elastic = None
    if augment.elastic:
        elastic = Elastic(alpha=augment.elastic, sigma=augment.elastic_sigma)
    warp = Warp(
        image_size=preprocessing.image_size,
        rotate=augment.rotate,
        translate=augment.translate,
        shear=augment.shear,
        zoom=augment.zoom,
        resized_crop=resized_crop,
        elastic=elastic,
        border=augment.border,
    )
    still = Warp(image_size=preprocessing.image_size, border=augment.border)
    return None if warp == still else warp


def _drawn_operations(augment: Augment, side: int) -> list[Change]:
    """Return RandAugment or TrivialAugment, where it is configured."""
    if augment.rand_augment is not None:
        return [
            RandAugment(
                count=augment.rand_augment,
                magnitude=augment.magnitude,
                ranges=usual_ranges(side),
                border=augment.border,
            )
        ]
    if augment.trivial_augment:
        return [RandAugment(count=1, magnitude=None, ranges=WIDE, border=augment.border)]
    return []


def _changes(config: Config, dataset: Dataset) -> tuple[Change, ...]:
    """Return the configured changes of levels in the order in which they are made."""
    augment = config.augment
    changes: list[Change] = _drawn_operations(augment, dataset.preprocessing.image_size)
    axes: tuple[tuple[float, ...], ...] = ()
    if augment.pca_colour:
        covariance = channel_covariance(dataset.train, dataset.preprocessing, config.seed)
        axes = colour_axes(covariance)
    colour = Colour(
        brightness=augment.brightness,
        contrast=augment.contrast,
        saturation=augment.saturation,
        hue=augment.hue,
        grey=augment.grey,
        pca=augment.pca_colour,
        axes=axes,
    )
    if colour != Colour():
        changes.append(colour)
    if augment.blur:
        changes.append(Blur(sigma=augment.blur))
    if not (augment.noise or augment.erase or augment.cutout):
        return tuple(changes)
    # Of the images themselves: a network may be given others, as those of published weights.
    mean, deviation = mean_and_deviation(dataset.train, dataset.preprocessing, config.seed)
    if augment.noise:
        deviations = tuple(augment.noise * value for value in deviation)
        copies_only = augment.noisy_copies > 0
        changes.append(Noise(deviations=deviations, copies_only=copies_only))
    if augment.erase:
        changes.append(Erasing(share=augment.erase, colour=mean))
    if augment.cutout:
        changes.append(Cutout(side=augment.cutout, colour=mean))
    return tuple(changes)
