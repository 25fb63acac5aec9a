"""What dense blocks use of earlier layers: planted weights are read back, each where it was put."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from epochal.app.evaluation.sections.feature_reuse import feature_reuse as section_of
from epochal.app.store.run import Run
from epochal.models.feature_reuse import Reuse, feature_reuse
from tests.app.evaluation.test_sections import texts
from tests.support.zoo import build

GROWTH = 12
INPUT = 2 * GROWTH  # channels of the first block's input


def test_each_planted_weight_is_read_where_it_is() -> None:
    model = build("densenet_bc_40_12")
    second_layer = slice(INPUT + GROWTH, INPUT + 2 * GROWTH)  # its channels
    for name, value in (("block1_layer3_a_conv", 2.0), ("transition1_conv", -3.0)):
        layer = model.get_layer(name)
        kernel = np.zeros(layer.kernel.shape, np.float32)
        kernel[..., second_layer, :] = value
        kernel[..., 0, :] = 1.0  # one channel of the block's input
        layer.kernel.assign(kernel)
    found = feature_reuse(model)[0]
    assert found.sources == ["stem_conv", *(f"block1_layer{i}_b_conv" for i in range(1, 7))]
    assert found.targets == [*(f"block1_layer{i}_a_conv" for i in range(2, 7)), "transition1_conv"]
    assert found.means[1] == pytest.approx([1 / INPUT, 0.0, 2.0, None, None, None, None])
    assert found.means[5] == pytest.approx([1 / INPUT, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("norm", ["layer", "weight", "normprop", "none"])
def test_blocks_are_found_under_any_norm(norm: str) -> None:
    found = feature_reuse(build("densenet_bc_40_12", norm=norm))
    assert [block.sources[0] for block in found] == [
        "stem_conv",
        "transition1_conv",
        "transition2_conv",
    ]
    assert found[-1].targets[-1] == "logits"


@pytest.mark.parametrize(
    "name", ["softmax", "lenet5", "googlenet_cifar", "inception_resnet_cifar", "resnet20", "lstm"]
)
def test_other_models_have_no_dense_block(name: str) -> None:
    assert feature_reuse(build(name)) == []


def test_the_report_draws_each_block(tmp_path: Path) -> None:
    means = [[1.0, 4.0, None], [1.0, 2.0, 2.0]]  # older halves 1 and 1, newer 4 and 2
    blocks = [asdict(Reuse(sources=["a", "b", "c"], targets=["d", "e"], means=means))] * 2
    run = Run(tmp_path)
    run.write_feature_reuse(blocks)
    section = section_of(run)
    assert [text for text in texts(section) if text.startswith("Dense")] == [
        "Dense block 1",
        "Dense block 2",
    ]
    assert section is not None
    assert "counts 0.38 times as much" in section.text  # between 1/4 and 1/2


def test_weights_that_are_all_zeros_are_shown_without_a_warning(tmp_path: Path) -> None:
    block = Reuse(sources=["a", "b"], targets=["c", "d"], means=[[0.0, 0.0], [0.0, 0.0]])
    run = Run(tmp_path)
    run.write_feature_reuse([asdict(block)])
    section = section_of(run)
    assert section is not None
    assert "counts 0.00 times as much" in section.text
    assert "nan" not in section.figures[0]
