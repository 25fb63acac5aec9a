"""Residual blocks: what passes them unchanged, what adds up over a stage, and how shapes change."""

import keras
import numpy as np
import pytest

from epochal.models.blocks import Style
from epochal.models.complexity import trainable_params
from epochal.models.residual import Residual, stages
from tests.support.tensors import as_model, gradients, normal, randomized


def block(shape, filters, *, stride=1, norm="batch", **options):
    residual = Residual(style=Style(norm=norm), **options)
    return as_model(lambda x: residual(x, 4, filters, stride=stride, name="block"), shape)


def silenced(model, layer):
    """The model with that layer's weights, the last of the branch, at zero."""
    for weight in model.get_layer(layer).trainable_weights:
        weight.assign(np.zeros(weight.shape))
    return model


def assert_identity(model, x):
    upstream = normal(*x.shape, seed=1)
    np.testing.assert_array_equal(model(x), x)
    np.testing.assert_array_equal(gradients(model, [x], upstream)[0], upstream)


# the shortcut


@pytest.mark.parametrize(
    ("norm", "last"), [("batch", "block_b_bn"), ("layer", "block_b_ln"), ("none", "block_b_conv")]
)
def test_gradient_passes_a_silent_block_unchanged(norm, last):
    model = silenced(block((6, 6, 4), 4, shortcut="A", norm=norm), last)
    assert_identity(
        model, 0.1 + np.abs(normal(2, 6, 6, 4))
    )  # the ReLU behind the addition passes only these


@pytest.mark.parametrize("bottleneck", [False, True])
def test_gradient_passes_a_silent_preactivated_block_whatever_its_sign(bottleneck):
    model = block((6, 6, 4), 4, preactivated=True, bottleneck=bottleneck)
    assert_identity(
        silenced(model, "block_c_conv" if bottleneck else "block_b_conv"), normal(2, 6, 6, 4)
    )


@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "weight_mean", "none"])
@pytest.mark.parametrize(("bottleneck", "last"), [(False, "b"), (True, "c")])
def test_a_preactivated_stage_adds_its_branches_to_its_input(norm, bottleneck, last):
    residual = Residual(style=Style(norm=norm), preactivated=True, bottleneck=bottleneck)
    model = randomized(as_model(lambda x: stages(x, residual, [(3, 2, 4)]), (5, 5, 4)))
    names = [f"stage1_block{block}_{last}_conv" for block in (1, 2, 3)]
    names.append("stage1_block3_add")
    outputs = [model.get_layer(name).output for name in names]
    x = normal(2, 5, 5, 4)
    *branches, end = keras.Model(model.input, outputs)(x)
    assert all(np.any(branch) for branch in branches)
    np.testing.assert_allclose(end, x + sum(branches), rtol=1e-5, atol=1e-5 * np.abs(end).max())


def test_activation_stands_behind_the_addition_or_before_the_convolutions():
    x = normal(4, 6, 6, 4)
    assert np.min(block((6, 6, 4), 4)(x)) == 0
    assert np.min(block((6, 6, 4), 4, preactivated=True)(x)) < 0
    stage = as_model(
        lambda x: stages(x, Residual(style=Style(), preactivated=True), [(2, 4, 4)]), (6, 6, 4)
    )
    assert [layer.name for layer in stage.layers[-3:]] == [
        "stage1_block2_add",
        "last_bn",
        "last_relu",
    ]


# where shapes change


def test_subsampling_adds_no_parameters_and_a_projection_its_matrix():
    plain = trainable_params(block((6, 6, 4), 4))
    wider = 9 * 4 * (7 - 4) + 2 * (7 - 4)  # of the second convolution and its normalisation
    assert trainable_params(block((6, 6, 4), 7, stride=2, shortcut="A")) == plain + wider
    assert (
        trainable_params(block((6, 6, 4), 7, stride=2, shortcut="B"))
        == plain + wider + 4 * 7 + 2 * 7
    )
    projected = block((6, 6, 4), 7, stride=2, preactivated=True)
    # no norm behind a projection
    assert trainable_params(projected) == 2 * 4 + 9 * 4 * 4 + 2 * 4 + 9 * 4 * 7 + 4 * 7


def test_a_silent_block_subsamples_and_pads_with_zeros():
    model = silenced(block((7, 6, 4), 6, stride=2, shortcut="A"), "block_b_bn")
    x = np.abs(normal(2, 7, 6, 4))
    expected = np.pad(x[:, ::2, ::2], [(0, 0), (0, 0), (0, 0), (1, 1)])
    np.testing.assert_array_equal(model(x), expected)


@pytest.mark.parametrize(
    ("stride_first", "strides"),
    [(False, [(1, 1), (2, 2), (1, 1)]), (True, [(2, 2), (1, 1), (1, 1)])],
)
def test_a_bottleneck_has_its_stride_and_its_groups_in_one_place(stride_first, strides):
    model = block((8, 8, 6), 12, stride=2, bottleneck=True, groups=2, stride_first=stride_first)
    convolutions = [model.get_layer(f"block_{letter}_conv") for letter in "abc"]
    assert [layer.strides for layer in convolutions] == strides
    assert [layer.kernel.shape for layer in convolutions] == [
        (1, 1, 6, 4),
        (3, 3, 4 // 2, 4),
        (1, 1, 4, 12),
    ]
    assert model.output.shape == (None, 4, 4, 12)


@pytest.mark.parametrize(
    ("first_stride", "sizes"), [(1, [(9, 7), (5, 4), (3, 2)]), (2, [(5, 4), (3, 2), (2, 1)])]
)
def test_stages_halve_the_image(first_stride, sizes):
    residual = Residual(style=Style())
    plan = [(1, 2, 2), (2, 3, 3), (1, 4, 4)]
    model = as_model(lambda x: stages(x, residual, plan, first_stride=first_stride), (9, 7, 2))
    ends = ["stage1_block1_relu", "stage2_block2_relu", "stage3_block1_relu"]
    assert [model.get_layer(name).output.shape[1:3] for name in ends] == sizes
    assert model.output.shape[-1] == 4


@pytest.mark.parametrize("preactivated", [False, True])
def test_a_shortcut_of_another_kind_is_refused(preactivated):
    with pytest.raises(ValueError, match="got 'C'"):
        block((6, 6, 4), 8, stride=2, shortcut="C", preactivated=preactivated)
