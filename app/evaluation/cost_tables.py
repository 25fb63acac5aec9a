"""Cost tables: the columns for people that `epochal models` prints. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from epochal.app.units import count, size

if TYPE_CHECKING:
    from epochal.app.evaluation.pareto import ComparedRun
    from epochal.models.cheaper_blocks import Block
    from epochal.models.complexity import ModelCost


def zoo_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a table of the zoo, a line for each model; `rows` are those of `sizes.json`."""
    head = ("name", "parameters", "multiply-adds", "input", "classes")
    table: list[Sequence[str]] = [head]
    for row in rows:
        cells = (
            row["name"],
            f"{row['params']:,}",
            f"{row['multiply_adds']:,}",
            times(row["input_shape"]),
            f"{row['num_classes']:,}",
        )
        table.append(cells)
    return _columns(table, "<>><>")


def model_table(cost: ModelCost) -> str:
    """Return a table of a model, a line for each layer, and the sums below it."""
    head = ("layer", "kind", "output", "parameters", "multiply-adds", "kept", "live", "moved")
    table: list[Sequence[str]] = [head]
    for layer in cost.layers:
        cells = (
            layer.name,
            layer.kind,
            times(layer.output_shape),
            count(layer.params),
            count(layer.multiply_adds),
            size(layer.kept_bytes),
            size(layer.live_bytes),
            size(layer.moved_bytes),
        )
        table.append(cells)
    layers = _columns(table, "<<<>>>>>")
    return f"{layers}\n\n{_sums(cost)}"


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
    """Return the model, the batch and the image size that its costs refer to."""
    images = "one image"
    if cost.batch_size != 1:
        images = f"{cost.batch_size:,} images (multiply-adds: for one)"
    return f"{cost.name}, {images} of {times(cost.input_shape)}"


def menu_table(blocks: Sequence[Block], pixels: int) -> str:
    """Return a table of the blocks that can replace a convolution, the convolution itself first."""
    head = ("block", "weights", "multiply-adds", "of full")
    full_params = blocks[0].params
    table: list[Sequence[str]] = [head]
    for block in blocks:
        multiply_adds = block.multiply_adds(pixels)
        share = block.params / full_params
        cells = (
            block.name,
            f"{block.params:,}",
            f"{multiply_adds:,}",
            f"{share:.3f}",
        )
        table.append(cells)
    return _columns(table, "<>>>")


def pareto_table(runs: Iterable[ComparedRun]) -> str:
    """Return a table of finished runs by data set and cost.

    A star marks a run where no other run on the data set is cheaper and as accurate.
    """
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
    table: list[Sequence[str]] = [head]
    for run in runs:
        star = ""
        if run.front:
            star = "*"
        cells = (
            star,
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
        table.append(cells)
    return _columns(table, "<<<<><>>><")


def times(shape: Sequence[int]) -> str:
    """Return `32x32x3`."""
    return "x".join(map(str, shape))


def _columns(rows: Sequence[Sequence[str]], sides: str) -> str:
    """Return lines of cells in columns.

    `sides` holds < for each column that is aligned on the left and > for each on the right.
    """
    widths = [0] * len(sides)
    for row in rows:
        for column, cell in enumerate(row):
            widths[column] = max(widths[column], len(cell))
    lines = []
    for row in rows:
        cells = []
        for cell, side, width in zip(
            row,
            sides,
            widths,
            strict=True,
        ):
            cells.append(f"{cell:{side}{width}}")
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
