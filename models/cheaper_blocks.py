"""The menu of cheaper blocks: what can stand in for one k x k convolution, and what each costs.

All have stride 1 and keep the image's size. Every weight then meets every pixel once: multiply-adds are weights times
pixels, and one ratio serves both. Biases, which normalisation makes idle, are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

GROUPS = 4  # of the grouped convolution
REDUCTION = 4  # times fewer channels inside the bottleneck (He et al. 2015, arXiv 1512.03385)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A stack of convolutions; each of them is (height, width, inputs, outputs, groups)."""

    name: str
    convolutions: tuple[tuple[int, int, int, int, int], ...]

    @property
    def params(self) -> int:
        """Weights: each output channel of a convolution sees the inputs of its group."""
        return sum(
            high * wide * inputs // groups * outputs
            for high, wide, inputs, outputs, groups in self.convolutions
        )

    def multiply_adds(self, pixels: int) -> int:
        """For one image of so many pixels."""
        return self.params * pixels


def menu(kernel: int, inputs: int, outputs: int) -> list[Block]:
    """Returns the full k x k convolution, first, and the blocks that see as many pixels and have as many outputs.

    What does not exist is left out: 1x1 cannot be cut up, 4x4 is no stack of 3x3, groups must divide the channels.

    Raises:
        ValueError: an argument is below 1.
    """
    if min(kernel, inputs, outputs) < 1:
        raise ValueError(
            f"kernel, inputs and outputs must be at least 1, got {kernel}, {inputs} and {outputs}."
        )
    return list(_blocks(kernel, inputs, outputs))


def _blocks(kernel: int, inputs: int, outputs: int) -> Iterator[Block]:
    square = (kernel, kernel)
    yield Block(name=f"full {kernel}x{kernel}", convolutions=((*square, inputs, outputs, 1),))
    if kernel > 3 and kernel % 2:  # Simonyan and Zisserman 2014, arXiv 1409.1556, section 2.3
        count = (kernel - 1) // 2
        rest = ((3, 3, outputs, outputs, 1),) * (count - 1)
        yield Block(name=f"{count} times 3x3", convolutions=((3, 3, inputs, outputs, 1), *rest))
    if kernel > 1:  # Szegedy et al. 2015, arXiv 1512.00567, section 3.2
        both = (kernel, 1, inputs, outputs, 1), (1, kernel, outputs, outputs, 1)
        yield Block(name=f"{kernel}x1, 1x{kernel}", convolutions=both)
    if inputs % REDUCTION == 0 and kernel > 1:
        inner = inputs // REDUCTION
        around = (1, 1, inputs, inner, 1), (*square, inner, inner, 1), (1, 1, inner, outputs, 1)
        yield Block(name=f"1x1 to a quarter, {kernel}x{kernel}, 1x1", convolutions=around)
    if inputs % GROUPS == 0 and outputs % GROUPS == 0:  # Xie et al. 2017, arXiv 1611.05431
        yield Block(
            name=f"{kernel}x{kernel} in {GROUPS} groups",
            convolutions=((*square, inputs, outputs, GROUPS),),
        )
    if kernel > 1:  # Howard et al. 2017, arXiv 1704.04861
        halves = (*square, inputs, inputs, inputs), (1, 1, inputs, outputs, 1)
        yield Block(name=f"{kernel}x{kernel} of each channel, 1x1", convolutions=halves)
