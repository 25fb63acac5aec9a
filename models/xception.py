"""Xception for small images (Chollet 2017, arXiv 1610.02357).

The 299-pixel network is in `applications`.
"""

import keras
from keras import layers

from epochal.models.blocks import Style
from epochal.models.heads import pooled_classifier

WIDTHS = (64, 128, 256)
MIDDLE_BLOCKS = 4  # those at constant size


def xception_cifar(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Return logits `[N, num_classes]`: the paper's flows, narrower and with less subsampling."""
    x = style.unit(x, 32, name="stem_a")
    x = style.unit(x, WIDTHS[0], name="stem_b")
    entry_blocks = len(WIDTHS) - 1
    blocks = entry_blocks + MIDDLE_BLOCKS
    for number, width in enumerate(WIDTHS[1:], start=1):
        x = _add_entry_block(
            x,
            width,
            style=style.at_depth(number, blocks),
            name=f"entry{number}",
        )
    for number in range(1, MIDDLE_BLOCKS + 1):
        x = _add_middle_block(
            x,
            style=style.at_depth(entry_blocks + number, blocks),
            name=f"middle{number}",
        )
    x = _add_separable(
        x,
        2 * WIDTHS[-1],
        style=style,
        name="exit",
    )
    x = style.norm_layer(x, name="exit")
    x = style.activate(x, name="exit")
    return pooled_classifier(x, num_classes)


def _add_entry_block(
    x: keras.KerasTensor, filters: int, *, style: Style, name: str
) -> keras.KerasTensor:
    """Two separable convolutions and a maximum that halves the image; the shortcut is projected."""
    residual = _add_unit(
        x,
        filters,
        style=style,
        name=f"{name}_a",
    )
    residual = _add_unit(
        residual,
        filters,
        style=style,
        name=f"{name}_b",
    )
    residual = layers.MaxPooling2D(
        3,
        2,
        padding="same",
        name=f"{name}_pool",
    )(residual)
    x = style.conv(
        x,
        filters,
        1,
        stride=2,
        name=f"{name}_shortcut_conv",
    )
    x = style.norm_layer(x, name=f"{name}_shortcut")
    return style.add(x, residual, name=name)


def _add_middle_block(x: keras.KerasTensor, *, style: Style, name: str) -> keras.KerasTensor:
    """Three separable convolutions around which the input passes unchanged."""
    residual = x
    for letter in "abc":
        residual = _add_unit(
            residual,
            x.shape[-1],
            style=style,
            name=f"{name}_{letter}",
        )
    return style.add(x, residual, name=name)


def _add_unit(x: keras.KerasTensor, filters: int, *, style: Style, name: str) -> keras.KerasTensor:
    """Add the non-linearity, a separable convolution and its normalisation."""
    x = style.activate(x, name=name)
    x = _add_separable(x, filters, style=style, name=name)
    return style.norm_layer(x, name=name)


def _add_separable(
    x: keras.KerasTensor, filters: int, *, style: Style, name: str
) -> keras.KerasTensor:
    """Add a depthwise 3x3 and a 1x1 convolution, nothing between them."""
    x = style.depthwise(x, name=f"{name}_depthwise")
    return style.conv(x, filters, 1, name=f"{name}_conv")
