"""Cost tables: the columns for people that `epochal models` prints. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from epochal.app.units import count, size

if TYPE_CHECKING:
    from epochal.app.evaluation.pareto import Placed
    from epochal.models.cheaper_blocks import Block
    from epochal.models.complexity import ModelCost


def zoo_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The zoo, a line a model; `rows` as in `sizes.json`."""
    head = ("name", "parameters", "multiply-adds", "input", "classes")
    cells = [
        (
            row["name"],
            f"{row['params']:,}",
            f"{row['multiply_adds']:,}",
            times(row["input_shape"]),
            f"{row['num_classes']:,}",
        )
        for row in rows
    ]
    return _columns([head, *cells], "<>><>")


def model_table(cost: ModelCost) -> str:
    """A model, a line a layer, and what it comes to."""
    head = ("layer", "kind", "output", "parameters", "multiply-adds", "kept", "live", "moved")
    cells = [
        (
            layer.name,
            layer.kind,
            times(layer.output_shape),
            count(layer.params),
            count(layer.multiply_adds),
            size(layer.kept_bytes),
            size(layer.live_bytes),
            size(layer.moved_bytes),
        )
        for layer in cost.layers
    ]
    return f"{_columns([head, *cells], '<<<>>>>>')}\n\n{_sums(cost)}"


def _sums(cost: ModelCost) -> str:
    flops = count(2 * cost.multiply_adds)
    lines = [
        (
            "parameters",
            f"{cost.params:,}",
            f"trained; all weights together take {size(cost.weight_bytes)}",
        ),
        (
            "multiply-adds",
            f"{cost.multiply_adds:,}",
            f"for one image; {flops} FLOPs, counting two for each",
        ),
        ("kept", size(cost.kept_bytes), "activations kept for the backward pass in training"),
        (
            "live",
            size(cost.live_bytes),
            f"activations at once at inference, at most: in {cost.fullest.name}",
        ),
        (
            "moved",
            size(cost.moved_bytes),
            "weights and activations read, activations written at inference",
        ),
    ]
    return f"{heading(cost)}\n{_columns(lines, '<><')}"


def heading(cost: ModelCost) -> str:
    """What the figures of a model refer to."""
    images = (
        "one image"
        if cost.batch_size == 1
        else f"{cost.batch_size:,} images (multiply-adds: for one)"
    )
    return f"{cost.name}, {images} of {times(cost.input_shape)}"


def menu_table(blocks: Sequence[Block], pixels: int) -> str:
    """What can stand in for a convolution, the convolution itself first."""
    head = ("block", "weights", "multiply-adds", "of full")
    full = blocks[0].params
    cells = [
        (
            block.name,
            f"{block.params:,}",
            f"{block.multiply_adds(pixels):,}",
            f"{block.params / full:.3f}",
        )
        for block in blocks
    ]
    return _columns([head, *cells], "<>>>")


def pareto_table(placed: Iterable[Placed]) -> str:
    """Finished runs by data set and cost; a star where no other run on the data set is cheaper and as accurate."""
    head = (
        "",
        "run",
        "data set",
        "model",
        "size",
        "cheaper by",
        "multiply-adds",
        "parameters",
        "test accuracy",
        "95 % interval",
    )
    cells = [
        (
            "*" if run.front else "",
            run.run,
            run.dataset,
            run.model,
            str(run.image_size),
            run.cheaper_by,
            f"{run.multiply_adds:,}",
            f"{run.params:,}",
            f"{run.test_accuracy:.4f}",
            f"{run.test_accuracy_low:.4f} to {run.test_accuracy_high:.4f}",
        )
        for run in placed
    ]
    return _columns([head, *cells], "<<<<><>>><")


def times(shape: Sequence[int]) -> str:
    """`32x32x3`."""
    return "x".join(map(str, shape))


def _columns(rows: Sequence[Sequence[str]], sides: str) -> str:
    """Lines of cells; `sides` holds < for each column that begins together and > for each that ends together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    layout = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return "\n".join(layout.format(*row).rstrip() for row in rows)
