"""DenseNet and DenseNet-BC for small images (Huang et al. 2016, arXiv 1608.06993).

The networks of 121 to 201 layers are in `applications`.
"""

import keras
from keras import layers

from epochal.models.blocks import Style
from epochal.models.heads import pooled_classifier
from epochal.models.residual import preactivation

BLOCKS = 3
BOTTLENECK = 4  # times the growth: channels between the two convolutions of a BC layer
COMPRESSION = 0.5  # of the channels that a BC transition keeps


def densenet_cifar(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    depth: int,
    growth: int,
    bc: bool = True,
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of three dense blocks with transitions between.

    Section 3 of the paper; dropout, if asked for, stands behind each convolution but the first
    (section 4.2).

    Args:
        depth: weighted layers: 3n + 4, with `bc` 6n + 4.
        growth: channels that every layer adds to those of all layers before it (k in the paper).
        bc: whether layers have bottlenecks and transitions compress.
    """
    if bc:
        convolutions = 2 * BLOCKS  # that one more layer in every block adds
        stem = 2 * growth
        compression = COMPRESSION
    else:
        convolutions = BLOCKS
        stem = 16
        compression = 1.0
    num_layers, excess = divmod(depth - 4, convolutions)
    if excess or num_layers < 1:
        below = max(num_layers, 1) * convolutions + 4
        raise ValueError(
            f"depth must be {convolutions}n + 4, got {depth}; "
            f"the nearest are {below} and {below + convolutions}."
        )
    x = style.conv(x, stem, name="stem_conv")
    for block in range(1, BLOCKS + 1):
        if block > 1:
            x = _transition(
                x,
                compression,
                style=style,
                name=f"transition{block - 1}",
            )
        for layer in range(1, num_layers + 1):
            name = f"block{block}_layer{layer}"
            x = dense_layer(
                x,
                growth,
                bottleneck=bc,
                style=style,
                name=name,
            )
    x = preactivation(x, style=style, name="last")
    return pooled_classifier(x, num_classes)


def dense_layer(
    x: keras.KerasTensor, growth: int, *, bottleneck: bool, style: Style, name: str
) -> keras.KerasTensor:
    """Add `growth` channels, computed from all that there are."""
    new = preactivation(x, style=style, name=f"{name}_a")
    if bottleneck:
        new = style.conv(
            new,
            BOTTLENECK * growth,
            1,
            name=f"{name}_a_conv",
        )
        new = style.drop(new, name=f"{name}_a_dropout")
        new = preactivation(new, style=style, name=f"{name}_b")
    new = style.conv(new, growth, name=f"{name}_b_conv")
    new = style.drop(new, name=f"{name}_b_dropout")
    return layers.Concatenate(name=f"{name}_concat")([x, new])


def _transition(
    x: keras.KerasTensor, compression: float, *, style: Style, name: str
) -> keras.KerasTensor:
    """Halves height and width; a 1x1 convolution keeps a share of the channels."""
    x = preactivation(x, style=style, name=name)
    x = style.conv(
        x,
        int(x.shape[-1] * compression),
        1,
        name=f"{name}_conv",
    )
    x = style.drop(x, name=f"{name}_dropout")
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)
