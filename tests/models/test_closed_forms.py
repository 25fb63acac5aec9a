"""The zoo's parameters and multiply-adds in closed form, from the papers' tables.

They are plain sums over layers; nothing here asks a model. The stored figures are compared with
these sums, and the models with the stored figures.
"""

import json
from dataclasses import asdict
from functools import partial
from itertools import pairwise, starmap

import numpy as np
import pytest

from epochal.models import ZOO
from epochal.models.complexity import SIZES, describe

# too deep to be built in a moment
DEEP = (
    *(
        "inception_v3",
        "inception_resnet_v2",
        "inception_resnet_cifar",
        "densenet121",
        "densenet169",
        "densenet201",
    ),
    *(f"resnet{depth}{version}_keras" for depth in (101, 152) for version in ("", "_v2")),
    *(f"efficientnet_v2_{size}" for size in ("b1", "b2", "b3", "s", "m", "l")),
    *(
        "densenet_100_12",
        "densenet_bc_100_12",
        "densenet_bc_190_40",
        "densenet_bc_250_24",
        "resnet101",
        "resnet152",
    ),
    *(
        "resnet110",
        "resnet110b",
        "resnet110_v2",
        "resnet164",
        "resnet164_v2",
        "resnet1001_v2",
        "resnet1202",
    ),
    *(
        "resnet101_v2",
        "resnet152_v2",
        "resnext101_32x4d",
        "resnext29_16x64d",
        "resnet56_v2",
        "mobilenet_v2_cifar",
    ),
    *(f"mobilenet_v2_{alpha}" for alpha in ("035", "050", "075", "140")),
)


def conv(kernel, inputs, outputs, side, *, groups=1, bias=False, norm=True):
    """Parameters and multiply-adds of a square convolution with output rows of `side` pixels."""
    weights = kernel * kernel * inputs * outputs // groups
    return np.array([weights + bias * outputs + norm * 2 * outputs, weights * side * side])


def bn(channels):
    return np.array([2 * channels, 0])


def dense(inputs, outputs):
    return np.array([(inputs + 1) * outputs, inputs * outputs])


def layers_of(*units):
    return sum(starmap(dense, pairwise(units)))


bare = partial(conv, norm=False)  # normalised before it, or not at all
plain = partial(conv, norm=False, bias=True)


def depthwise(channels, side, kernel=3):
    return conv(kernel, channels, channels, side, groups=channels)


def recurrent(gates, *, steps=28, inputs=28, units=128, classes=10):
    matrices = gates * (inputs + units) * units
    return np.array([matrices + gates * units, steps * matrices]) + dense(units, classes)


def alexnet(columns):
    """Figure 2 of the paper: five convolutions; two groups in the second, fourth and fifth."""
    convolutions = (
        plain(11, 3, 96, 55) + plain(5, 96, 256, 27, groups=columns) + plain(3, 256, 384, 13)
    )
    convolutions = (
        convolutions
        + plain(3, 384, 384, 13, groups=columns)
        + plain(3, 384, 256, 13, groups=columns)
    )
    return convolutions + layers_of(6 * 6 * 256, 4096, 4096, 1000)


def alexnet_cifar():
    convolutions = plain(11, 3, 64, 8) + plain(5, 64, 192, 4) + plain(3, 192, 384, 2)
    return convolutions + plain(3, 384, 256, 2) + plain(3, 256, 256, 2) + dense(256, 10)


VGG = {  # table 1, columns A, B, D and E; M is a maximum
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def vgg(depth, *, side, head, norm=False):
    total = 0
    channels = 3
    for word in VGG[depth].split():
        if word == "M":
            side //= 2
        else:
            total = total + conv(3, channels, int(word), side, bias=True, norm=norm)
            channels = int(word)
    return total + layers_of(channels * side * side, *head)


# table 1: output channels and pixels, then 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, pooled and
# projected
GOOGLENET = """\
256 28 64 96 128 16 32 32
480 28 128 128 192 32 96 64
512 14 192 96 208 16 48 64
512 14 160 112 224 24 64 64
512 14 128 128 256 24 64 64
528 14 112 144 288 32 64 64
832 14 256 160 320 32 128 128
832 7 256 160 320 32 128 128
1024 7 384 192 384 48 128 128"""


def googlenet(stem, *, unit, smallest, classes):
    total = stem
    inputs = 192
    for line in GOOGLENET.splitlines():
        outputs, side, one, reduced3, three, reduced5, five, pooled = map(int, line.split())
        side = side * smallest // 7
        total = (
            total
            + unit(1, inputs, one, side)
            + unit(1, inputs, reduced3, side)
            + unit(3, reduced3, three, side)
        )
        total = (
            total
            + unit(1, inputs, reduced5, side)
            + unit(5, reduced5, five, side)
            + unit(1, inputs, pooled, side)
        )
        assert outputs == one + three + five + pooled
        inputs = outputs
    return total + dense(inputs, classes)


def inception_resnet_cifar():
    """Three stages of three A blocks: 1x1; 1x1, 3x3; 1x1, 3x3 (3/2), 3x3 (2); back by a 1x1."""
    total = 0
    channels = 3
    for width, side in ((16, 32), (32, 16), (64, 8)):
        total = total + conv(3, channels, 4 * width, side)
        channels = 4 * width
        wider = width * 3 // 2
        block = 3 * conv(1, channels, width, side)
        block = block + conv(3, width, width, side)
        block = block + conv(3, width, wider, side)
        block = block + conv(3, wider, 2 * width, side)
        block = block + plain(1, 4 * width, channels, side)
        total = total + 3 * block
    return total + dense(channels, 10)


def separable(inputs, outputs, side):
    return bare(3, inputs, inputs, side, groups=inputs) + conv(1, inputs, outputs, side)


def xception_cifar():
    stem = conv(3, 3, 32, 32) + conv(3, 32, 64, 32)
    entry1 = separable(64, 128, 32) + separable(128, 128, 32) + conv(1, 64, 128, 16)
    entry2 = separable(128, 256, 16) + separable(256, 256, 16) + conv(1, 128, 256, 8)
    middle = 12 * separable(256, 256, 8)
    end = separable(256, 512, 8) + dense(512, 10)
    return stem + entry1 + entry2 + middle + end


def branch(inputs, inner, outputs, before, after, *, bottleneck, groups, early):
    """The convolutions of a residual block: kernel, inputs, outputs, pixels a row, groups."""
    if not bottleneck:
        return [(3, inputs, inner, after, 1), (3, inner, outputs, after, 1)]
    first = (1, inputs, inner, after if early else before, 1)
    return [first, (3, inner, inner, after, groups), (1, inner, outputs, after, 1)]


def residual(
    stem,
    plan,
    *,
    side,
    channels,
    v2=False,
    projected=True,
    classes=10,
    bottleneck=False,
    groups=1,
    early=False,
):
    """The plan: blocks, inner and outer channels of each stage; v2 begins with norms."""
    total = stem
    for stage, (blocks, inner, outputs) in enumerate(plan):
        for block in range(blocks):
            after = side // 2 if stage and not block else side
            kind = {"bottleneck": bottleneck, "groups": groups, "early": early}
            for kernel, a, b, pixels, of in branch(channels, inner, outputs, side, after, **kind):
                total = total + bare(kernel, a, b, pixels, groups=of) + bn(a if v2 else b)
            if projected and channels != outputs:
                total = total + conv(1, channels, outputs, after, norm=not v2)
            side = after
            channels = outputs
    return total + v2 * bn(channels) + dense(channels, classes)


def resnet_cifar(depth, *, bottleneck=False, v2=False, projected=True):
    blocks = (depth - 2) // (9 if bottleneck else 6)
    plan = [(blocks, width, width * (4 if bottleneck else 1)) for width in (16, 32, 64)]
    stem = conv(3, 3, 16, 32, norm=not v2)
    return residual(
        stem, plan, side=32, channels=16, v2=v2, projected=projected, bottleneck=bottleneck
    )


BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}  # table 1
WIDTHS = (64, 128, 256, 512)


def resnet(depth, *, small=False, v2=False):
    bottleneck = depth >= 50
    plan = [
        (n, width, width * (4 if bottleneck else 1))
        for n, width in zip(BLOCKS[depth], WIDTHS, strict=True)
    ]
    options = {"channels": 64, "v2": v2, "bottleneck": bottleneck}
    if small:
        return residual(conv(3, 3, 64, 32), plan, side=32, **options)
    return residual(
        conv(7, 3, 64, 112, norm=not v2), plan, side=56, classes=1000, early=not v2, **options
    )


def wide(depth, factor):
    plan = [((depth - 4) // 6, width * factor, width * factor) for width in (16, 32, 64)]
    return residual(bare(3, 3, 16, 32), plan, side=32, channels=16, v2=True)


def resnext29(cardinality, width):
    plan = [(3, cardinality * width * 2**i, 256 * 2**i) for i in range(3)]
    return residual(
        conv(3, 3, 64, 32), plan, side=32, channels=64, bottleneck=True, groups=cardinality
    )


def resnext(depth):
    plan = [(n, 128 * 2**i, 256 * 2**i) for i, n in enumerate(BLOCKS[depth])]
    stem = conv(7, 3, 64, 112)
    return residual(stem, plan, side=56, channels=64, bottleneck=True, groups=32, classes=1000)


def mobilenet(alpha=1.0, *, side=112, strides="1212121111121", classes=1000):
    """Table 1: 3x3 of each channel, 1x1, thirteen times; `strides` of the former."""
    widths = [
        int(alpha * width)
        for width in (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    ]
    total = conv(3, 3, widths[0], side)
    for stride, (inputs, outputs) in zip(strides, pairwise(widths), strict=True):
        side //= int(stride)
        total = total + depthwise(inputs, side) + conv(1, inputs, outputs, side)
    return total + dense(widths[-1], classes)


def eighths(channels):
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_v2(alpha=1.0, *, side=112, second=2, classes=1000):
    """Table 2: expansion t, channels c, repetitions n, stride s; that of stage 2 varies."""
    inputs = eighths(32 * alpha)
    total = conv(3, 3, inputs, side)
    for t, c, n, s in (
        (1, 16, 1, 1),
        (6, 24, 2, second),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repetition in range(n):
            inner = inputs * t
            total = total + (conv(1, inputs, inner, side) if t > 1 else 0)
            side //= 1 if repetition else s
            total = total + depthwise(inner, side) + conv(1, inner, eighths(c * alpha), side)
            inputs = eighths(c * alpha)
    last = eighths(1280 * max(1.0, alpha))
    return total + conv(1, inputs, last, side) + dense(last, classes)


def densenet(stem, channels, blocks, growth, *, side, bc=True, classes=10):
    total = stem
    for block, count in enumerate(blocks):
        if block:
            kept = channels // 2 if bc else channels
            total = total + bn(channels) + bare(1, channels, kept, side)
            channels = kept
            side = side // 2
        for _ in range(count):
            inner = 4 * growth if bc else channels
            total = total + bn(channels) + (bare(1, channels, inner, side) + bn(inner) if bc else 0)
            total = total + bare(3, inner, growth, side)
            channels = channels + growth
    return total + bn(channels) + dense(channels, classes)


def densenet_cifar(depth, growth, *, bc=True):
    first = 2 * growth if bc else 16
    return densenet(
        bare(3, 3, first, 32), first, [(depth - 4) // (6 if bc else 3)] * 3, growth, side=32, bc=bc
    )


def densenet_imagenet(*blocks):
    return densenet(conv(7, 3, 64, 112), 64, blocks, 32, side=56, classes=1000)


HEAD = (4096, 4096, 1000)
CLOSED_FORMS = {
    "softmax": dense(784, 10),
    "mlp": layers_of(784, 256, 128, 10),
    "lenet300": layers_of(784, 300, 100, 10),
    "lenet5": plain(5, 1, 6, 28) + plain(5, 6, 16, 10) + layers_of(400, 120, 84, 10),
    "lenet5_caffe": plain(5, 1, 20, 24) + plain(5, 20, 50, 8) + layers_of(800, 500, 10),
    "rnn": recurrent(1),
    "lstm": recurrent(4),
    "alexnet": alexnet(2),
    "alexnet_single": alexnet(1),
    "alexnet_cifar": alexnet_cifar(),
    **{f"vgg{depth}": vgg(depth, side=224, head=HEAD) for depth in VGG},
    **{f"vgg{depth}_cifar": vgg(depth, side=32, head=(10,), norm=True) for depth in VGG},
    "googlenet": googlenet(
        plain(7, 3, 64, 112) + plain(1, 64, 64, 56) + plain(3, 64, 192, 56),
        unit=plain,
        smallest=7,
        classes=1000,
    ),
    "googlenet_cifar": googlenet(conv(3, 3, 192, 32), unit=conv, smallest=8, classes=10),
    "inception_resnet_cifar": inception_resnet_cifar(),
    "xception_cifar": xception_cifar(),
    **{
        f"resnet{depth}": resnet_cifar(depth, projected=False)
        for depth in (8, 14, 20, 32, 44, 56, 110, 1202)
    },
    **{f"resnet{depth}b": resnet_cifar(depth) for depth in (20, 32, 44, 56, 110)},
    **{f"resnet{depth}_v2": resnet_cifar(depth, v2=True) for depth in (20, 56, 110)},
    "resnet164": resnet_cifar(164, bottleneck=True),
    **{f"resnet{depth}_v2": resnet_cifar(depth, bottleneck=True, v2=True) for depth in (164, 1001)},
    **{f"resnet{depth}_cifar": resnet(depth, small=True) for depth in (18, 34, 50)},
    **{f"resnet{depth}": resnet(depth) for depth in BLOCKS},
    **{f"resnet{depth}_v2": resnet(depth, v2=True) for depth in BLOCKS},
    **{
        f"wrn{depth}_{factor}": wide(depth, factor)
        for depth, factor in ((16, 4), (16, 8), (28, 10), (40, 4))
    },
    **{f"resnext29_{c}x{d}d": resnext29(c, d) for c, d in ((32, 4), (8, 64), (16, 64))},
    **{f"resnext{depth}_32x4d": resnext(depth) for depth in (50, 101)},
    "mobilenet": mobilenet(),
    **{f"mobilenet_{int(100 * alpha):03}": mobilenet(alpha) for alpha in (0.25, 0.5, 0.75)},
    "mobilenet_cifar": mobilenet(side=32, classes=10),
    "mobilenet_v2": mobilenet_v2(),
    **{
        f"mobilenet_v2_{int(100 * alpha):03}": mobilenet_v2(alpha)
        for alpha in (0.35, 0.5, 0.75, 1.4)
    },
    "mobilenet_v2_cifar": mobilenet_v2(side=32, second=1, classes=10),
    **{f"densenet_{depth}_12": densenet_cifar(depth, 12, bc=False) for depth in (40, 100)},
    **{
        f"densenet_bc_{d}_{k}": densenet_cifar(d, k)
        for d, k in ((40, 12), (100, 12), (250, 24), (190, 40))
    },
    "densenet121": densenet_imagenet(6, 12, 24, 16),
    "densenet169": densenet_imagenet(6, 12, 32, 32),
    "densenet201": densenet_imagenet(6, 12, 48, 32),
}
# hundreds of layers in no regular order: trainable parameters as in the summaries of
# keras.applications, of EfficientNetV2 S to L as in torchvision's table, of Lite0 as its package
# has them; their multiply-adds are compared with the traced graph, in test_complexity
SUMMARIES = {
    "inception_v3": 23_817_352,
    "inception_resnet_v2": 55_813_192,
    "xception": 22_855_952,
    "resnet50_keras": 25_583_592,
    "resnet101_keras": 44_601_832,
    "resnet152_keras": 60_268_520,
    "resnet50_v2_keras": 25_568_360,
    "resnet101_v2_keras": 44_577_896,
    "resnet152_v2_keras": 60_236_904,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_v2_b0": 7_139_704,
    "efficientnet_v2_b1": 8_141_052,
    "efficientnet_v2_b2": 10_096_086,
    "efficientnet_v2_b3": 14_358_406,
    "efficientnet_v2_s": 21_458_488,
    "efficientnet_v2_m": 54_139_356,
    "efficientnet_v2_l": 118_515_272,
}

STORED = {row["name"]: row for row in json.loads(SIZES.read_bytes())}

# as the papers and their authors' code give them; with all digits where these are known
PUBLISHED_PARAMS = {
    **{
        "lenet5": 61_706,
        "lenet5_caffe": 431_080,
        "lenet300": 266_610,
        "vgg16": 138_357_544,
        "alexnet": 60_965_224,
    },
    **{
        "alexnet_single": 62_378_344,
        "vgg16_cifar": 14_728_266,
        "resnet20": 269_722,
        "resnet32": 464_154,
    },
    **{"resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962, "resnet1202": 19_421_274},
    **{"resnet20b": 272_474, "resnet56b": 855_770, "resnet110b": 1_730_714, "resnet164": 1_704_154},
    **{
        "resnet20_v2": 272_282,
        "resnet18_cifar": 11_173_962,
        "resnet50": 25_557_032,
        "wrn28_10": 36_479_194,
    },
    **{"resnext29_32x4d": 4_775_754, "resnext29_16x64d": 68_155_210, "densenet_40_12": 1_019_722},
    **{
        "densenet_bc_40_12": 176_122,
        "densenet_bc_100_12": 769_162,
        "densenet_bc_250_24": 15_324_406,
    },
    "densenet_bc_190_40": 25_624_430,
}
PUBLISHED_MILLIONS = {  # parameters, multiply-adds; None where not given
    "resnet20": (0.27, 40.55),
    "resnet32": (0.46, 68.86),
    "resnet44": (0.66, 97.17),
    "resnet56": (0.85, 125.49),
    "resnet110": (1.73, 252.89),
    "vgg16": (138.4, 15_470),
    "vgg16_cifar": (14.7, 313.2),
    "mobilenet": (4.2, 569),
    "mobilenet_075": (2.6, 325),
    "mobilenet_v2": (3.5, 300),
    "mobilenet_v2_035": (1.68, 59),
    "mobilenet_v2_050": (1.97, 97),
    "mobilenet_v2_075": (2.64, 209),
    "mobilenet_v2_140": (6.1, 582),
    "resnext29_8x64d": (34.43, None),
    "densenet_100_12": (7.0, None),
    "vgg19_cifar": (20.04, None),
    "alexnet_cifar": (2.47, None),
    "inception_v3": (23.8, 5_700),
    "inception_resnet_v2": (55.8, 13_200),
    "xception": (22.9, 8_400),
}
every_row = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name for name in ZOO]
)


def test_every_row_has_stored_figures_and_others_to_compare_with() -> None:
    assert list(STORED) == list(ZOO)
    assert {*CLOSED_FORMS, *SUMMARIES} == set(ZOO)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_stored_figures_are_what_the_papers_layers_sum_up_to(name: str) -> None:
    assert [STORED[name]["params"], STORED[name]["multiply_adds"]] == CLOSED_FORMS[name].tolist()


@pytest.mark.parametrize("name", SUMMARIES)
def test_stored_parameters_are_those_of_the_summary(name: str) -> None:
    assert STORED[name]["params"] == SUMMARIES[name]


@pytest.mark.parametrize("name", PUBLISHED_PARAMS)
def test_stored_parameters_are_the_published_ones(name: str) -> None:
    assert STORED[name]["params"] == PUBLISHED_PARAMS[name]


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_stored_figures_round_to_the_published_ones(name: str) -> None:
    for key, published in zip(("params", "multiply_adds"), PUBLISHED_MILLIONS[name], strict=True):
        assert published is None or STORED[name][key] / 1e6 == pytest.approx(published, rel=0.01)


@every_row
def test_stored_figures_are_those_of_the_model(name: str) -> None:
    assert json.loads(json.dumps(asdict(describe(name)))) == STORED[name]
