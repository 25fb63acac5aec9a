"""The zoo in tests: published parameter counts, and the models that tests always run."""

import functools

import keras
import numpy as np
import pytest

from epochal import models

# Trainable parameters at the native shape and classes, from the papers where they count them, else
# from github.com/osmr/imgclsmob, bearpaw/pytorch-classification, kuangliu/pytorch-cifar or Keras'
# table; tests/models/test_closed_forms.py derives them by hand.
PARAMS = {
    "softmax": 7_850,
    "mlp": 235_146,
    "lenet300": 266_610,
    "lenet5": 61_706,
    "lenet5_caffe": 431_080,
    "rnn": 21_386,
    "lstm": 81_674,
    "alexnet": 60_965_224,
    "alexnet_single": 62_378_344,
    "alexnet_cifar": 2_472_266,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_cifar": 9_231_114,
    "vgg13_cifar": 9_416_010,
    "vgg16_cifar": 14_728_266,
    "vgg19_cifar": 20_040_522,
    "googlenet": 6_998_552,
    "googlenet_cifar": 5_871_914,
    "inception_v3": 23_817_352,
    "inception_resnet_v2": 55_813_192,
    "inception_resnet_cifar": 1_630_138,
    "xception": 22_855_952,
    "xception_cifar": 1_150_570,
    "resnet8": 75_290,
    "resnet14": 172_506,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet1202": 19_421_274,
    "resnet20b": 272_474,
    "resnet32b": 466_906,
    "resnet44b": 661_338,
    "resnet56b": 855_770,
    "resnet110b": 1_730_714,
    "resnet164": 1_704_154,
    "resnet20_v2": 272_282,
    "resnet56_v2": 855_578,
    "resnet110_v2": 1_730_522,
    "resnet164_v2": 1_703_258,
    "resnet1001_v2": 10_327_706,
    "resnet18_cifar": 11_173_962,
    "resnet34_cifar": 21_282_122,
    "resnet50_cifar": 23_520_842,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet18_v2": 11_687_720,
    "resnet34_v2": 21_795_880,
    "resnet50_v2": 25_549_352,
    "resnet101_v2": 44_541_480,
    "resnet152_v2": 60_185_128,
    "resnet50_keras": 25_583_592,
    "resnet101_keras": 44_601_832,
    "resnet152_keras": 60_268_520,
    "resnet50_v2_keras": 25_568_360,
    "resnet101_v2_keras": 44_577_896,
    "resnet152_v2_keras": 60_236_904,
    "wrn16_4": 2_748_890,
    "wrn16_8": 10_961_370,
    "wrn28_10": 36_479_194,
    "wrn40_4": 8_949_210,
    "resnext29_32x4d": 4_775_754,
    "resnext29_8x64d": 34_426_698,
    "resnext29_16x64d": 68_155_210,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x4d": 44_177_704,
    "mobilenet": 4_231_976,
    "mobilenet_025": 470_072,
    "mobilenet_050": 1_331_592,
    "mobilenet_075": 2_585_560,
    "mobilenet_cifar": 3_217_226,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v2_035": 1_677_128,
    "mobilenet_v2_050": 1_968_680,
    "mobilenet_v2_075": 2_636_424,
    "mobilenet_v2_140": 6_108_776,
    "mobilenet_v2_cifar": 2_236_682,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_v2_b0": 7_139_704,
    "efficientnet_v2_b1": 8_141_052,
    "efficientnet_v2_b2": 10_096_086,
    "efficientnet_v2_b3": 14_358_406,
    "efficientnet_v2_s": 21_458_488,
    "efficientnet_v2_m": 54_139_356,
    "efficientnet_v2_l": 118_515_272,
    "densenet_40_12": 1_019_722,
    "densenet_100_12": 6_979_642,
    "densenet_bc_40_12": 176_122,
    "densenet_bc_100_12": 769_162,
    "densenet_bc_250_24": 15_324_406,
    "densenet_bc_190_40": 25_624_430,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
}

LARGE = 1_000_000  # parameters; only `pytest -m slow` tries models that have more
ALWAYS = [
    "softmax",
    "mlp",
    "lenet5",
    "lenet5_caffe",
    "rnn",
    "lstm",
    "resnet8",
    "resnet20_v2",
    "densenet_bc_40_12",
    "mobilenet_025",
]
# Networks that differ from a smaller one in depth and width alone: the same layers follow one
# another in both, as test_kin_have_the_same_layers shows. What depth and width do not change is
# tried on the smaller one.
SMALLER_KIN = {
    "vgg13": "vgg11",
    "vgg19": "vgg16",
    "vgg13_cifar": "vgg11_cifar",
    "vgg16_cifar": "vgg11_cifar",
    "vgg19_cifar": "vgg11_cifar",
    "resnet14": "resnet8",
    "resnet20": "resnet8",
    "resnet32": "resnet8",
    "resnet44": "resnet8",
    "resnet56": "resnet8",
    "resnet110": "resnet8",
    "resnet1202": "resnet8",
    "resnet32b": "resnet20b",
    "resnet44b": "resnet20b",
    "resnet56b": "resnet20b",
    "resnet110b": "resnet20b",
    "resnet56_v2": "resnet20_v2",
    "resnet110_v2": "resnet20_v2",
    "resnet1001_v2": "resnet164_v2",
    "resnet34_cifar": "resnet18_cifar",
    "resnet34": "resnet18",
    "resnet101": "resnet50",
    "resnet152": "resnet50",
    "resnet34_v2": "resnet18_v2",
    "resnet101_v2": "resnet50_v2",
    "resnet152_v2": "resnet50_v2",
    "resnet101_keras": "resnet50_keras",
    "resnet152_keras": "resnet50_keras",
    "resnet101_v2_keras": "resnet50_v2_keras",
    "resnet152_v2_keras": "resnet50_v2_keras",
    "wrn16_8": "wrn16_4",
    "wrn28_10": "wrn16_4",
    "wrn40_4": "wrn16_4",
    "resnext29_8x64d": "resnext29_32x4d",
    "resnext29_16x64d": "resnext29_32x4d",
    "resnext101_32x4d": "resnext50_32x4d",
    "mobilenet_050": "mobilenet_025",
    "mobilenet_075": "mobilenet_025",
    "mobilenet": "mobilenet_025",
    "mobilenet_v2_050": "mobilenet_v2_035",
    "mobilenet_v2_075": "mobilenet_v2_035",
    "mobilenet_v2": "mobilenet_v2_035",
    "mobilenet_v2_140": "mobilenet_v2_035",
    "efficientnet_v2_b1": "efficientnet_v2_b0",
    "efficientnet_v2_b2": "efficientnet_v2_b0",
    "efficientnet_v2_b3": "efficientnet_v2_b0",
    "efficientnet_v2_m": "efficientnet_v2_s",
    "efficientnet_v2_l": "efficientnet_v2_s",
    "densenet_100_12": "densenet_40_12",
    "densenet_bc_100_12": "densenet_bc_40_12",
    "densenet_bc_190_40": "densenet_bc_40_12",
    "densenet_bc_250_24": "densenet_bc_40_12",
    "densenet169": "densenet121",
    "densenet201": "densenet121",
}
# These take minutes each.
UNTRIED = ["resnet1202", "resnet1001_v2", "densenet_bc_250_24"]


def names(always: list[str] = ALWAYS, *, kin: bool = False) -> list:
    """Return models to try; all but `always` are marked slow.

    Args:
        always: what the quick suite tries
        kin: whether to try those, too, that have a smaller kin, but for those that take minutes
    """
    left_out = UNTRIED if kin else SMALLER_KIN
    parameters = []
    for name in models.ZOO:
        if name in always:
            parameters.append(name)
        elif name not in left_out:
            parameters.append(pytest.param(name, marks=pytest.mark.slow))
    return parameters


def shapes(name: str) -> list[tuple[int, int, int]]:
    """Return two small shapes that the model takes: square and grey, and oblong in colours."""
    least = max(8, models.ZOO[name].min_size)
    return [(least, least, 1), (least + 3, least, 3)]


def images(shape: tuple[int, ...], count: int = 4) -> np.ndarray:
    """Return images of random pixels."""
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def build(
    name: str, shape: tuple[int, int, int] | None = None, num_classes: int = 5, **options: str
):
    """Return the model for small images, which it standardises."""
    if shape is None:
        shape = shapes(name)[0]
    channels = shape[-1]
    return models.build(
        name,
        shape,
        num_classes,
        mean=[120.0] * channels,
        deviation=[60.0] * channels,
        options=options,
    )


# What two layers may differ in and still be alike.
NUMBERS = {"name", "units", "filters", "groups", "rate", "seed", "build_config", "gain_shape"}


@functools.cache
def layers_and_what_they_follow(name: str) -> set[tuple[str, str]]:
    """Return each kind of layer of a model with the kind that it follows, numbers apart."""
    shape = shapes(name)[1]
    with keras.StatelessScope():  # no weight gets a value: faster
        model = models.build(name, shape, 5)
    pairs = set()
    for layer in model.layers[1:]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        for tensor in inputs:
            pairs.add((kind_of(tensor._keras_history.operation), kind_of(layer)))
    return pairs


def kind_of(layer) -> str:
    """Return the class of a layer and its configuration without names and numbers."""
    config = {key: value for key, value in layer.get_config().items() if key not in NUMBERS}
    return f"{type(layer).__name__} {config}"
