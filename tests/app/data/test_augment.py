"""Windows of padded images against NumPy's padding and slicing."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.app.config import Augment, Config
from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.augment.configured import augmentation_for
from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.windows import cut_windows
from epochal.app.data.load import load
from epochal.app.errors import UsageError

MODES = {"reflect": "reflect", "black": "constant"}


def draws_of(count: int) -> Draws:
    """Return what the first images of epoch 0 draw, each at its own position."""
    end = tf.constant(count, tf.int64)
    return Draws(
        seed=0,
        epoch=tf.constant(0, tf.int64),
        first=tf.constant(0, tf.int64),
        end=end,
        images=tf.range(end),
        copies=tf.zeros(count, tf.int64),
    )


@settings(max_examples=30)
@given(st.integers(3, 9), st.data())
def test_a_window_equals_numpys(side: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, side))
    border = data.draw(st.sampled_from(sorted(MODES)))
    pad = data.draw(st.integers(0, side - 1))
    images = np.random.default_rng(side).integers(1, 256, (4, side, side, 2), dtype=np.uint8)
    corners = np.array(
        [[data.draw(st.integers(-pad, side + pad - size)) for _ in range(2)] for _ in range(4)],
        np.int32,
    )
    mirrored = np.array([False, True, False, True])
    windows = cut_windows(images, corners, mirrored, size=size, border=border).numpy()
    padded = np.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)], MODES[border])
    for image, (top, left), flip, cut in zip(padded, corners + pad, mirrored, windows, strict=True):
        expected = image[top : top + size, left : left + size]
        np.testing.assert_array_equal(cut, expected[:, ::-1] if flip else expected)


def test_black_pads_and_reflections_do_not() -> None:
    images = tf.fill([64, 6, 6, 1], tf.constant(200, tf.uint8))
    drawn = draws_of(64)
    least = {}
    for border in MODES:
        augmented = Augmentation(stored_size=6, image_size=6, pad=2, border=border)(images, drawn)
        least[border] = int(tf.reduce_min(augmented))
    assert least == {"reflect": 200, "black": 0}


def test_more_padding_than_there_is_image_is_refused() -> None:
    config = Config(augment=Augment(pad_crop=8))
    with pytest.raises(UsageError, match="8 pixels around images of 8; give less than their side"):
        augmentation_for(config, load(config))
