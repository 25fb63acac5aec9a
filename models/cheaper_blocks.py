"""Cheaper blocks: stacks of convolutions that can stand in for one k x k convolution.

All have stride 1 and keep the image's size. Every weight then meets every pixel once: multiply-adds
are weights times pixels, and one ratio serves both. Biases, which normalisation makes idle, are
left out.
"""

from dataclasses import dataclass
from typing import NamedTuple

GROUPS = 4  # of the grouped convolution
REDUCTION = 4  # times fewer channels inside the bottleneck (He et al. 2015, arXiv 1512.03385)


class Kernel(NamedTuple):
    """The kernel of one convolution: its size in pixels, its channels and their groups."""

    height: int
    width: int
    inputs: int
    outputs: int
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class Block:
    """A stack of convolutions."""

    name: str
    convolutions: tuple[Kernel, ...]

    @property
    def params(self) -> int:
        """Return the number of weights: each output channel sees the inputs of its group."""
        total = 0
        for kernel in self.convolutions:
            inputs = kernel.inputs // kernel.groups
            total += kernel.height * kernel.width * inputs * kernel.outputs
        return total

    def multiply_adds(self, pixels: int) -> int:
        """Return the multiply-adds for one image of so many pixels."""
        return self.params * pixels


def menu(kernel: int, inputs: int, outputs: int) -> list[Block]:
    """Return the full k x k convolution, first, and the blocks that can stand in for it.

    They see as many pixels and have as many outputs. Blocks that do not exist are left out: 1x1
    cannot be cut up, 4x4 is no stack of 3x3, groups must divide the channels.

    Raises:
        ValueError: an argument is below 1.
    """
    if min(kernel, inputs, outputs) < 1:
        raise ValueError(
            f"kernel, inputs and outputs must be at least 1, got {kernel}, {inputs} and {outputs}."
        )
    stacks = {
        f"full {kernel}x{kernel}": [
            Kernel(
                kernel,
                kernel,
                inputs,
                outputs,
            )
        ]
    }
    if kernel > 3 and kernel % 2 == 1:
        # Simonyan and Zisserman 2014, arXiv 1409.1556, section 2.3
        count = (kernel - 1) // 2
        first = Kernel(3, 3, inputs, outputs)
        following = Kernel(3, 3, outputs, outputs)
        stacks[f"{count} times 3x3"] = [first] + [following] * (count - 1)
    if kernel > 1:
        # Szegedy et al. 2015, arXiv 1512.00567, section 3.2
        column = Kernel(kernel, 1, inputs, outputs)
        row = Kernel(1, kernel, outputs, outputs)
        stacks[f"{kernel}x1, 1x{kernel}"] = [column, row]
    if kernel > 1 and inputs % REDUCTION == 0:
        # He et al. 2015, arXiv 1512.03385, figure 5
        inner = inputs // REDUCTION
        reduce = Kernel(1, 1, inputs, inner)
        middle = Kernel(kernel, kernel, inner, inner)
        expand = Kernel(1, 1, inner, outputs)
        stacks[f"1x1 to a quarter, {kernel}x{kernel}, 1x1"] = [reduce, middle, expand]
    if inputs % GROUPS == 0 and outputs % GROUPS == 0:
        # Xie et al. 2017, arXiv 1611.05431
        grouped = Kernel(
            kernel,
            kernel,
            inputs,
            outputs,
            GROUPS,
        )
        stacks[f"{kernel}x{kernel} in {GROUPS} groups"] = [grouped]
    if kernel > 1:
        # Howard et al. 2017, arXiv 1704.04861
        depthwise = Kernel(
            kernel,
            kernel,
            inputs,
            inputs,
            groups=inputs,
        )
        pointwise = Kernel(1, 1, inputs, outputs)
        stacks[f"{kernel}x{kernel} of each channel, 1x1"] = [depthwise, pointwise]
    return [
        Block(
            name=name,
            convolutions=tuple(stack),
        )
        for name, stack in stacks.items()
    ]
