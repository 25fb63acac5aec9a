"""Sizes of images, and whether they are kept in memory: shared by the sources of data sets."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.dataset import Images, Split, StreamedImages
from epochal.app.data.preprocessing import ImageShape
from epochal.app.errors import UsageError

LARGEST_PADDED = 64  # pixels: above, images are scaled and cropped, the ImageNet way
_SCALE_OVER_CROP = 8 / 7  # 256 to 224


def choose_shape(config: Config, native_size: int | None, channels: int) -> ImageShape:
    """Return the sizes that a configuration gives to images.

    Args:
        config: of the run.
        native_size: the images' own side; None where they differ.
        channels: 1 or 3.

    Raises:
        UsageError: neither the images nor the configuration have a size.
    """
    size = config.image_size or native_size
    if size is None:
        raise UsageError(
            f"image_size: images of {config.dataset} differ in size; "
            "give one, for instance --image-size 64"
        )
    scale_crop = config.augment.scale_crop
    if scale_crop is None:
        scale_crop = size > LARGEST_PADDED and size != native_size
    stored_size = size
    if scale_crop:
        stored_size = round(size * _SCALE_OVER_CROP)
    return ImageShape(
        channels=channels,
        stored_size=stored_size,
        image_size=size,
    )


def make_split(
    load: Callable[[tf.Tensor], tf.Tensor], labels: np.ndarray, shape: ImageShape, cache_gib: float
) -> Split:
    """Return a split of image files, decoded into memory where they take at most `cache_gib` there.

    Args:
        load: function from an index to the bytes of its file, in TensorFlow operations.
        labels: int32 `[N]`.
        shape: sizes of the stored images.
        cache_gib: GiB that the stored images may take.
    """
    streamed = StreamedImages(load, shape)
    images: Images = streamed
    count = len(labels)
    num_bytes = count * shape.stored_size**2 * shape.channels
    if num_bytes <= cache_gib * 2**30:
        images = streamed.cached(count)
    return Split(images, np.arange(count), labels)
