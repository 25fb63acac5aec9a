"""Tiles: the corners and the centre of images."""

import tensorflow as tf


def corner_and_centre_tiles(images: tf.Tensor, size: int) -> tf.Tensor:
    """Cut four corners and the centre out of images: `[n, 5, s, s, C]` of `[n, H, W, C]`.

    Top left, top right, bottom left, bottom right, centre (Krizhevsky et al. 2012, section 4.1).

    Raises:
        ValueError: the tiles are larger than the images.
    """
    height, width = images.shape[1:3]
    if size > min(height, width):
        raise ValueError(f"tiles of {size} pixels out of images of {height} x {width}")
    bottom = height - size
    right = width - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    tiles = []
    for top, left in corners:
        tiles.append(images[:, top : top + size, left : left + size])
    return tf.stack(tiles, axis=1)
