"""Xception for small images (Chollet 2017, arXiv 1610.02357); the 299-pixel network is in `applications`."""

import keras
from keras import layers

from epochal.models.blocks import Style, pooled_classifier

WIDTHS = (64, 128, 256)
MIDDLE = 4  # blocks at constant size


def xception_cifar(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]`: the paper's flows, narrower and with less subsampling."""
    x = style.unit(x, 32, name="stem_a")
    x = style.unit(x, WIDTHS[0], name="stem_b")
    for i, width in enumerate(WIDTHS[1:], start=1):
        x = _entry(x, width, style=style, name=f"entry{i}")
    for i in range(1, MIDDLE + 1):
        x = _middle(x, style=style, name=f"middle{i}")
    x = _separable(x, 2 * WIDTHS[-1], style=style, name="exit")
    return pooled_classifier(
        style.activate(style.norm_layer(x, name="exit"), name="exit"), num_classes
    )


def _entry(x: keras.KerasTensor, filters: int, *, style: Style, name: str) -> keras.KerasTensor:
    """Two separable convolutions and a maximum that halves the image; the shortcut is projected."""
    residual = _activated_separable(x, filters, style=style, name=f"{name}_a")
    residual = _activated_separable(residual, filters, style=style, name=f"{name}_b")
    residual = layers.MaxPooling2D(3, 2, padding="same", name=f"{name}_pool")(residual)
    x = style.conv(x, filters, 1, stride=2, name=f"{name}_shortcut_conv")
    return style.add(style.norm_layer(x, name=f"{name}_shortcut"), residual, name=name)


def _middle(x: keras.KerasTensor, *, style: Style, name: str) -> keras.KerasTensor:
    """Three separable convolutions around which the input passes unchanged."""
    residual = x
    for letter in "abc":
        residual = _activated_separable(residual, x.shape[-1], style=style, name=f"{name}_{letter}")
    return style.add(x, residual, name=name)


def _activated_separable(
    x: keras.KerasTensor, filters: int, *, style: Style, name: str
) -> keras.KerasTensor:
    x = _separable(style.activate(x, name=name), filters, style=style, name=name)
    return style.norm_layer(x, name=name)


def _separable(x: keras.KerasTensor, filters: int, *, style: Style, name: str) -> keras.KerasTensor:
    """A depthwise 3x3 and a 1x1 convolution, nothing between them."""
    return style.conv(style.depthwise(x, name=f"{name}_depthwise"), filters, 1, name=f"{name}_conv")
