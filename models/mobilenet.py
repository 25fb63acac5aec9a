"""MobileNet v1 and v2 for small images.

Howard et al. 2017, arXiv 1704.04861, and Sandler et al. 2018, arXiv 1801.04381. The 224-pixel
networks are in `applications`. A resolution multiplier is a smaller `--image-size`.
"""

import keras

from epochal.models.blocks import Style
from epochal.models.heads import pooled_classifier

# channels and stride of each separable convolution; the 224-pixel networks have stride 2 in the
# stem and in the second one, too
V1 = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
# expansion, channels, blocks and stride of each stage; the 224-pixel networks have stride 2 in the
# stem and in the second stage, too
V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_cifar(
    x: keras.KerasTensor, num_classes: int, style: Style, *, width: float = 1.0
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of depthwise separable convolutions.

    Args:
        width: multiplier of all channels (alpha in the paper).
    """
    x = style.unit(x, int(32 * width), name="stem")
    for number, (filters, stride) in enumerate(V1, start=1):
        name = f"block{number}"
        x = depthwise_unit(
            x,
            stride=stride,
            style=style,
            name=f"{name}_depthwise",
        )
        x = style.unit(
            x,
            int(filters * width),
            1,
            name=name,
        )
    return pooled_classifier(x, num_classes)


def mobilenet_v2_cifar(
    x: keras.KerasTensor, num_classes: int, style: Style, *, width: float = 1.0
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of inverted residuals with linear bottlenecks.

    Args:
        width: multiplier of all channels; the last 1280 never become fewer.
    """
    x = style.unit(x, divisible(32 * width), name="stem")
    # The first block of a stage changes the number of channels, and adds nothing to its input.
    residuals = sum(blocks - 1 for _, _, blocks, _ in V2)
    number = 0
    for stage, (expansion, filters, blocks, first_stride) in enumerate(V2, start=1):
        channels = divisible(filters * width)
        for block in range(1, blocks + 1):
            stride = first_stride if block == 1 else 1
            number += block > 1
            x = inverted_residual(
                x,
                channels,
                expansion=expansion,
                stride=stride,
                style=style.at_depth(number, residuals),
                name=f"stage{stage}_block{block}",
            )
    x = style.unit(
        x,
        divisible(1280 * max(1.0, width)),
        1,
        name="head",
    )
    return pooled_classifier(x, num_classes)


def inverted_residual(
    x: keras.KerasTensor, filters: int, *, expansion: int, stride: int, style: Style, name: str
) -> keras.KerasTensor:
    """Add a wide depthwise convolution between two thin ends, which are added if shapes agree.

    The last 1x1 convolution stays linear.
    """
    residual = x
    if expansion > 1:
        residual = style.unit(
            residual,
            x.shape[-1] * expansion,
            1,
            name=f"{name}_expand",
        )
    residual = depthwise_unit(
        residual,
        stride=stride,
        style=style,
        name=f"{name}_depthwise",
    )
    residual = style.conv(
        residual,
        filters,
        1,
        name=f"{name}_project_conv",
    )
    residual = style.norm_layer(residual, name=f"{name}_project")
    if stride == 1 and residual.shape == x.shape:
        return style.add(x, residual, name=name)
    return residual


def depthwise_unit(
    x: keras.KerasTensor, *, stride: int, style: Style, name: str
) -> keras.KerasTensor:
    """Add a depthwise 3x3 convolution, its normalisation and the non-linearity."""
    x = style.depthwise(x, stride=stride, name=f"{name}_conv")
    x = style.norm_layer(x, name=name)
    return style.activate(x, name=name)


def divisible(channels: float, by: int = 8) -> int:
    """Return the multiple of `by` nearest to `channels`, but never less than 90 % of it.

    So does the authors' code.
    """
    nearest = max(by, int(channels + by / 2) // by * by)
    if nearest < 0.9 * channels:
        return nearest + by
    return nearest
