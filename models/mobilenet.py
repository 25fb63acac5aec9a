"""MobileNet v1 (Howard et al. 2017, arXiv 1704.04861) and v2 (Sandler et al. 2018, arXiv 1801.04381) for small images.

The 224-pixel networks are in `applications`. A resolution multiplier is a smaller `--image-size`.
"""

import keras

from epochal.models.blocks import Style, pooled_classifier

# channels and stride of each separable convolution; at 224 pixels the stem and the second one have stride 2 too
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
# expansion, channels, blocks and stride of each stage; at 224 pixels the stem and the second stage have stride 2 too
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
    """Returns logits `[N, num_classes]` of depthwise separable convolutions.

    Args:
        width: multiplier of all channels (alpha in the paper).
    """
    x = style.unit(x, int(32 * width), name="stem")
    for i, (filters, stride) in enumerate(V1, start=1):
        x = depthwise_unit(x, stride=stride, style=style, name=f"block{i}_depthwise")
        x = style.unit(x, int(filters * width), 1, name=f"block{i}")
    return pooled_classifier(x, num_classes)


def mobilenet_v2_cifar(
    x: keras.KerasTensor, num_classes: int, style: Style, *, width: float = 1.0
) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]` of inverted residuals with linear bottlenecks.

    Args:
        width: multiplier of all channels but the last 1280, which it never makes fewer.
    """
    x = style.unit(x, divisible(32 * width), name="stem")
    for stage, (expansion, filters, blocks, stride) in enumerate(V2, start=1):
        for i in range(1, blocks + 1):
            options = {"expansion": expansion, "stride": stride if i == 1 else 1}
            x = inverted_residual(
                x, divisible(filters * width), **options, style=style, name=f"stage{stage}_block{i}"
            )
    x = style.unit(x, divisible(1280 * max(1.0, width)), 1, name="head")
    return pooled_classifier(x, num_classes)


def inverted_residual(
    x: keras.KerasTensor, filters: int, *, expansion: int, stride: int, style: Style, name: str
) -> keras.KerasTensor:
    """Adds a wide depthwise convolution between two thin ends; the last 1x1 convolution stays linear.

    The thin ends are added where they have the same shape.
    """
    residual = x
    if expansion > 1:
        residual = style.unit(residual, x.shape[-1] * expansion, 1, name=f"{name}_expand")
    residual = depthwise_unit(residual, stride=stride, style=style, name=f"{name}_depthwise")
    residual = style.norm_layer(
        style.conv(residual, filters, 1, name=f"{name}_project_conv"), name=f"{name}_project"
    )
    return (
        style.add(x, residual, name=name) if residual.shape == x.shape and stride == 1 else residual
    )


def depthwise_unit(
    x: keras.KerasTensor, *, stride: int, style: Style, name: str
) -> keras.KerasTensor:
    """Adds a depthwise 3x3 convolution, its normalisation and the non-linearity."""
    x = style.depthwise(x, stride=stride, name=f"{name}_conv")
    return style.activate(style.norm_layer(x, name=name), name=name)


def divisible(channels: float, by: int = 8) -> int:
    """Returns the multiple of `by` nearest to `channels`, but never less than 90 % of it (as in the authors' code)."""
    nearest = max(by, int(channels + by / 2) // by * by)
    return nearest + by if nearest < 0.9 * channels else nearest
