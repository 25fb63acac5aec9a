"""Cheaper blocks against layers that are really built, and against the papers' ratios."""

import keras
import pytest
from keras import layers

from epochal.models.cheaper_blocks import Block, menu
from epochal.models.complexity import multiply_adds, trainable_params

SIZE = 12  # pixels


def built(block: Block, inputs: int) -> keras.Model:
    """The block from Keras' own layers, a depthwise one where each channel has its own group."""
    x = images = keras.Input((SIZE, SIZE, inputs))
    for height, width, channels, outputs, groups in block.convolutions:
        if channels == outputs == groups:
            x = layers.DepthwiseConv2D((height, width), padding="same", use_bias=False)(x)
        else:
            x = layers.Conv2D(
                outputs, (height, width), padding="same", groups=groups, use_bias=False
            )(x)
    return keras.Model(images, x)


def ratios(kernel: int, inputs: int, outputs: int) -> dict[str, float]:
    full, *others = menu(kernel, inputs, outputs)
    return {block.name: block.params / full.params for block in others}


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (8, 24), (12, 4), (3, 5)])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
def test_every_block_costs_what_its_layers_cost(kernel: int, inputs: int, outputs: int) -> None:
    for block in menu(kernel, inputs, outputs):
        model = built(block, inputs)
        assert block.params == trainable_params(model), block.name
        assert block.multiply_adds(SIZE * SIZE) == multiply_adds(model), block.name
        assert model.output_shape == (None, SIZE, SIZE, outputs)


@pytest.mark.parametrize("kernel", [2, 3, 5, 7, 9])
def test_every_block_sees_as_many_pixels_as_the_full_convolution(kernel: int) -> None:
    for block in menu(kernel, 8, 8):
        for axis in (0, 1):
            assert 1 + sum(convolution[axis] - 1 for convolution in block.convolutions) == kernel, (
                block.name
            )


def test_small_kernels_cost_what_vgg_and_inception_say() -> None:
    assert ratios(5, 64, 64)["2 times 3x3"] == 2 * 9 / 25
    assert ratios(7, 64, 64)["3 times 3x3"] == 3 * 9 / 49
    assert ratios(3, 64, 64)["3x1, 1x3"] == pytest.approx(2 / 3)
    assert ratios(7, 192, 192)["7x1, 1x7"] == pytest.approx(2 / 7)


@pytest.mark.parametrize(("channels", "published"), [(32, 0.142), (64, 0.127), (512, 0.113)])
def test_depthwise_separable_costs_what_mobilenet_says(channels: int, published: float) -> None:
    ratio = ratios(3, channels, channels)["3x3 of each channel, 1x1"]
    assert ratio == pytest.approx(1 / channels + 1 / 9)
    assert round(ratio, 3) == published


@pytest.mark.parametrize("width", [64, 256])
def test_a_bottleneck_costs_17_sixteenths_of_its_width_squared(width: int) -> None:
    assert ratios(3, width, width)["1x1 to a quarter, 3x3, 1x1"] == pytest.approx(17 / 16 / 9)


def test_groups_divide_the_cost() -> None:
    assert ratios(3, 64, 128)["3x3 in 4 groups"] == 1 / 4


@pytest.mark.parametrize(
    ("kernel", "inputs", "outputs", "count"), [(1, 8, 8, 2), (1, 6, 8, 1), (4, 6, 8, 3)]
)
def test_what_does_not_exist_is_left_out(
    kernel: int, inputs: int, outputs: int, count: int
) -> None:
    assert len(menu(kernel, inputs, outputs)) == count


@pytest.mark.parametrize("wrong", [(0, 8, 8), (3, 0, 8), (3, 8, -1)])
def test_nothing_is_no_convolution(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"got {wrong[0]}, {wrong[1]} and {wrong[2]}"):
        menu(*wrong)
