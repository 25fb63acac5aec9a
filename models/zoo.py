"""The table of the zoo: each name, its builder, and the images of its published figures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
from keras import applications, layers

from epochal.models.alexnet import alexnet, alexnet_cifar
from epochal.models.applications import application
from epochal.models.blocks import Style
from epochal.models.colours import (
    CAFFE,
    CENTRED,
    LITE_COLOURS,
    OF_EFFICIENTNET_V2,
    TORCH,
    Colours,
)
from epochal.models.densenet import densenet_cifar
from epochal.models.efficientnet_lite import STYLE as LITE
from epochal.models.efficientnet_lite import efficientnet_lite
from epochal.models.inception import googlenet, inception_resnet_cifar
from epochal.models.lenet import lenet5, lenet5_caffe
from epochal.models.linear import softmax_regression
from epochal.models.mlp import mlp
from epochal.models.mobilenet import mobilenet_cifar, mobilenet_v2_cifar
from epochal.models.recurrent import recurrent
from epochal.models.resnet import resnet, resnet_cifar
from epochal.models.resnext import resnext, resnext29
from epochal.models.vgg import vgg
from epochal.models.wide_resnet import wide_resnet
from epochal.models.xception import xception_cifar

MNIST = (28, 28, 1)
CIFAR = (32, 32, 3)
IMAGENET = (224, 224, 3)
LARGER = (299, 299, 3)
STYLED = ("norm", "activation")
DROPPING = (*STYLED, "dropout")
DENSE = (*DROPPING, "input_dropout")
RESIDUAL = (*STYLED, "stochastic_depth")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A row of the zoo.

    Args:
        builder: makes logits from standardised images, the number of classes and a style.
        input_shape: height, width and channels that the published figures refer to.
        num_classes: classes that the published figures refer to.
        min_size: least height and width in pixels that the network can take.
        style: the network's normalisation and non-linearity.
        options: the fields of the style that a user may choose. `dropout` is among them where the
            network has layers of it or its paper places some, `stochastic_depth` where it has
            residuals.
        colours: of the images that its published weights were trained on, if `models.weights` can
            load these.
    """

    builder: Callable[[keras.KerasTensor, int, Style], keras.KerasTensor]
    input_shape: tuple[int, int, int]
    num_classes: int = 10
    min_size: int = 1
    style: Style = field(default_factory=Style)
    options: tuple[str, ...] = STYLED
    colours: Colours | None = None


BATCH_NORM = Style()
PLAIN = Style(norm="none")
TANH = Style(norm="none", activation="tanh")
RELU6 = Style(activation="relu6")
BIASED = Style(bias=True)  # published figures count the biases that batch norm makes idle


def _mnist(builder: Callable[..., Any], style: Style = PLAIN, **row: Any) -> Architecture:
    return Architecture(
        builder=builder,
        input_shape=MNIST,
        style=style,
        **row,
    )


def _cifar(
    builder: Callable[..., Any],
    min_size: int = 8,
    style: Style = BATCH_NORM,
    *,
    choices: tuple[str, ...] = STYLED,
    **options: Any,
) -> Architecture:
    """Return a row whose `builder` takes `options`; users may make `choices`."""
    return Architecture(
        builder=partial(builder, **options),
        input_shape=CIFAR,
        min_size=min_size,
        style=style,
        options=choices,
    )


def _imagenet(
    builder: Callable[..., Any],
    min_size: int = 32,
    style: Style = BATCH_NORM,
    *,
    choices: tuple[str, ...] = STYLED,
    **options: Any,
) -> Architecture:
    """Return a row whose `builder` takes `options`; users may make `choices`."""
    return Architecture(
        builder=partial(builder, **options),
        input_shape=IMAGENET,
        num_classes=1000,
        min_size=min_size,
        style=style,
        options=choices,
    )


def _keras(
    network: Callable[..., Any],
    colours: Any,
    input_shape: Any = IMAGENET,
    min_size: int = 32,
    **options: Any,
) -> Architecture:
    """Return a row for a network of `keras.applications`, which takes `options`."""
    return Architecture(
        builder=partial(application, network=network, **options),
        input_shape=input_shape,
        num_classes=1000,
        min_size=min_size,
        style=PLAIN,  # of the dense layers behind it
        options=("dropout",) if options.get("hidden") else (),
        colours=colours,
    )


VGG_HEAD = (4096, 4096)  # units of the hidden dense layers

ZOO: dict[str, Architecture] = {
    "softmax": Architecture(
        builder=softmax_regression,
        input_shape=MNIST,
        options=(),
    ),
    "mlp": _mnist(partial(mlp, hidden=(256, 128), dropout=0.2), options=DENSE),
    "lenet300": _mnist(partial(mlp, hidden=(300, 100)), options=DENSE),
    "lenet5": _mnist(lenet5, TANH),
    "lenet5_caffe": _mnist(lenet5_caffe, min_size=16),
    "rnn": _mnist(
        partial(recurrent, cell=layers.SimpleRNN),
        TANH,
        options=(),
    ),
    "lstm": _mnist(
        partial(recurrent, cell=layers.LSTM),
        TANH,
        options=(),
    ),
    "alexnet": _imagenet(alexnet, 64, PLAIN, columns=2, choices=DROPPING),
    "alexnet_single": _imagenet(
        alexnet,
        64,
        PLAIN,
        columns=1,
        choices=DROPPING,
    ),
    "alexnet_cifar": _cifar(alexnet_cifar, 29, PLAIN),
    "vgg11": _imagenet(
        vgg,
        32,
        PLAIN,
        depth=11,
        hidden=VGG_HEAD,
        choices=DROPPING,
    ),
    "vgg13": _imagenet(
        vgg,
        32,
        PLAIN,
        depth=13,
        hidden=VGG_HEAD,
        choices=DROPPING,
    ),
    "vgg16": _keras(applications.VGG16, CAFFE, hidden=VGG_HEAD),
    "vgg19": _keras(applications.VGG19, CAFFE, hidden=VGG_HEAD),
    **{
        f"vgg{depth}_cifar": _cifar(
            vgg,
            32,
            BIASED,
            depth=depth,
        )
        for depth in (11, 13, 16, 19)
    },
    "googlenet": _imagenet(googlenet, style=PLAIN, choices=DROPPING),
    "googlenet_cifar": _cifar(googlenet, small_images=True),
    "inception_v3": _keras(
        applications.InceptionV3,
        CENTRED,
        LARGER,
        75,
    ),
    "inception_resnet_v2": _keras(
        applications.InceptionResNetV2,
        CENTRED,
        LARGER,
        75,
    ),
    "inception_resnet_cifar": _cifar(inception_resnet_cifar, choices=RESIDUAL),
    "xception": _keras(
        applications.Xception,
        CENTRED,
        LARGER,
        71,
    ),
    "xception_cifar": _cifar(xception_cifar, choices=RESIDUAL),
    **{
        f"resnet{depth}": _cifar(resnet_cifar, depth=depth, shortcut="A", choices=RESIDUAL)
        for depth in (8, 14, 20, 32, 44, 56, 110, 1202)
    },
    **{
        f"resnet{depth}b": _cifar(resnet_cifar, depth=depth, choices=RESIDUAL)
        for depth in (20, 32, 44, 56, 110)
    },
    "resnet164": _cifar(resnet_cifar, depth=164, bottleneck=True, choices=RESIDUAL),
    **{
        f"resnet{depth}_v2": _cifar(
            resnet_cifar,
            depth=depth,
            preactivated=True,
            choices=RESIDUAL,
        )
        for depth in (20, 56, 110)
    },
    **{
        f"resnet{depth}_v2": _cifar(
            resnet_cifar,
            depth=depth,
            preactivated=True,
            choices=RESIDUAL,
            bottleneck=True,
        )
        for depth in (164, 1001)
    },
    **{
        f"resnet{depth}_cifar": _cifar(
            resnet,
            depth=depth,
            small_images=True,
            choices=RESIDUAL,
        )
        for depth in (18, 34, 50)
    },
    **{
        f"resnet{depth}": _imagenet(
            resnet,
            depth=depth,
            stride_first=True,
            choices=RESIDUAL,
        )
        for depth in (18, 34, 50, 101, 152)
    },
    **{
        f"resnet{depth}_v2": _imagenet(
            resnet,
            depth=depth,
            preactivated=True,
            choices=RESIDUAL,
        )
        for depth in (18, 34, 50, 101, 152)
    },
    **{
        f"resnet{depth}_keras": _keras(network, CAFFE)
        for depth, network in (
            (50, applications.ResNet50),
            (101, applications.ResNet101),
            (152, applications.ResNet152),
        )
    },
    **{
        f"resnet{depth}_v2_keras": _keras(network, CENTRED)
        for depth, network in (
            (50, applications.ResNet50V2),
            (101, applications.ResNet101V2),
            (152, applications.ResNet152V2),
        )
    },
    **{
        f"wrn{depth}_{factor}": _cifar(
            wide_resnet,
            depth=depth,
            factor=factor,
            choices=(*DROPPING, "stochastic_depth"),
        )
        for depth, factor in ((16, 4), (16, 8), (28, 10), (40, 4))
    },
    "resnext29_32x4d": _cifar(resnext29, cardinality=32, width=4, choices=RESIDUAL),
    "resnext29_8x64d": _cifar(resnext29, cardinality=8, width=64, choices=RESIDUAL),
    "resnext29_16x64d": _cifar(resnext29, cardinality=16, width=64, choices=RESIDUAL),
    "resnext50_32x4d": _imagenet(
        resnext,
        depth=50,
        cardinality=32,
        width=4,
        choices=RESIDUAL,
    ),
    "resnext101_32x4d": _imagenet(
        resnext,
        depth=101,
        cardinality=32,
        width=4,
        choices=RESIDUAL,
    ),
    "mobilenet": _keras(applications.MobileNet, CENTRED),
    **{
        f"mobilenet_{int(100 * alpha):03d}": _keras(
            applications.MobileNet,
            CENTRED,
            alpha=alpha,
        )
        for alpha in (0.25, 0.5, 0.75)
    },
    "mobilenet_cifar": _cifar(mobilenet_cifar),
    "mobilenet_v2": _keras(applications.MobileNetV2, CENTRED),
    **{
        f"mobilenet_v2_{int(100 * alpha):03d}": _keras(
            applications.MobileNetV2, CENTRED, alpha=alpha
        )
        for alpha in (0.35, 0.5, 0.75, 1.4)
    },
    "mobilenet_v2_cifar": _cifar(mobilenet_v2_cifar, style=RELU6, choices=RESIDUAL),
    "efficientnet_lite0": Architecture(
        builder=efficientnet_lite,
        input_shape=IMAGENET,
        num_classes=1000,
        min_size=32,
        style=LITE,
        options=(*DROPPING, "stochastic_depth"),
        colours=LITE_COLOURS,
    ),
    **{
        f"efficientnet_v2_{name}": _keras(
            network,
            colours,
            (size, size, 3),
            include_preprocessing=False,
        )
        for name, network, colours, size in (
            ("b0", applications.EfficientNetV2B0, TORCH, 224),
            ("b1", applications.EfficientNetV2B1, TORCH, 240),
            ("b2", applications.EfficientNetV2B2, TORCH, 260),
            ("b3", applications.EfficientNetV2B3, TORCH, 300),
            ("s", applications.EfficientNetV2S, OF_EFFICIENTNET_V2, 384),
            ("m", applications.EfficientNetV2M, OF_EFFICIENTNET_V2, 480),
            ("l", applications.EfficientNetV2L, OF_EFFICIENTNET_V2, 480),
        )
    },
    "densenet_40_12": _cifar(
        densenet_cifar,
        depth=40,
        growth=12,
        bc=False,
        choices=DROPPING,
    ),
    "densenet_100_12": _cifar(
        densenet_cifar,
        depth=100,
        growth=12,
        bc=False,
        choices=DROPPING,
    ),
    **{
        f"densenet_bc_{depth}_{growth}": _cifar(
            densenet_cifar,
            depth=depth,
            growth=growth,
            choices=DROPPING,
        )
        for depth, growth in ((40, 12), (100, 12), (250, 24), (190, 40))
    },
    "densenet121": _keras(applications.DenseNet121, TORCH),
    "densenet169": _keras(applications.DenseNet169, TORCH),
    "densenet201": _keras(applications.DenseNet201, TORCH),
}
