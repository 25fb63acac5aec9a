"""Residual blocks and the stages that they form, for every family with an addition in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from epochal.models.blocks import Style
from epochal.models.layers.shortcut import Shortcut


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A residual block: a branch of convolutions, added to its input.

    Args:
        bottleneck: 1x1, 3x3 and 1x1 convolutions instead of two 3x3 ones.
        preactivated: normalisation and non-linearity stand before each convolution and none behind
            the addition, so that the shortcut is the identity (He et al. 2016, arXiv 1603.05027);
            else they stand behind, as in arXiv 1512.03385.
        shortcut: where shapes change, "A" subsamples and pads with zeros, "B" projects with a 1x1
            convolution.
        groups: of the 3x3 convolution of a bottleneck (Xie et al. 2017, arXiv 1611.05431).
        stride_first: whether the bottleneck's first convolution has the stride, not its 3x3 one.
    """

    style: Style
    bottleneck: bool = False
    preactivated: bool = False
    shortcut: str = "B"
    groups: int = 1
    stride_first: bool = False

    def __call__(
        self, x: keras.KerasTensor, inner: int, filters: int, *, stride: int, name: str
    ) -> keras.KerasTensor:
        """Return `[N, ceil(H / stride), ceil(W / stride), filters]`.

        Args:
            inner: channels within the branch.
        """
        convolutions = self._plan_convolutions(inner, filters, stride)
        if self.preactivated:
            return self._add_preactivated(x, convolutions, name)
        return self._add_original(x, convolutions, name)

    def _plan_convolutions(self, inner: int, filters: int, stride: int) -> list[dict[str, Any]]:
        """Return the arguments of `Style.conv` for each convolution of the branch."""
        if not self.bottleneck:
            return [{"filters": inner, "stride": stride}, {"filters": filters}]
        reduce = {"filters": inner, "kernel": 1}
        middle = {"filters": inner, "groups": self.groups}
        expand = {"filters": filters, "kernel": 1}
        if self.stride_first:
            reduce["stride"] = stride
        else:
            middle["stride"] = stride
        return [reduce, middle, expand]

    def _add_original(
        self, x: keras.KerasTensor, convolutions: list[dict[str, Any]], name: str
    ) -> keras.KerasTensor:
        residual = x
        last = convolutions[-1]
        for letter, convolution in zip("abc", convolutions, strict=False):
            part = f"{name}_{letter}"
            residual = self.style.conv(
                residual,
                name=f"{part}_conv",
                **convolution,
            )
            residual = self.style.norm_layer(residual, name=part)
            if convolution is not last:
                residual = self.style.activate(residual, name=part)
        if residual.shape != x.shape:
            x = self._resize(x, convolutions, f"{name}_shortcut")
        x = self.style.add(x, residual, name=name)
        return self.style.activate(x, name=name)

    def _add_preactivated(
        self, x: keras.KerasTensor, convolutions: list[dict[str, Any]], name: str
    ) -> keras.KerasTensor:
        activated = preactivation(x, style=self.style, name=f"{name}_a")
        residual = self.style.conv(
            activated,
            name=f"{name}_a_conv",
            **convolutions[0],
        )
        for letter, convolution in zip(
            "bc",
            convolutions[1:],
            strict=False,
        ):
            part = f"{name}_{letter}"
            residual = preactivation(
                residual,
                style=self.style,
                name=part,
            )
            if letter == "b":
                # Where wide residual networks have it (Zagoruyko and Komodakis 2016, figure 1).
                residual = self.style.drop(residual, name=f"{part}_dropout")
            residual = self.style.conv(
                residual,
                name=f"{part}_conv",
                **convolution,
            )
        if residual.shape != x.shape:
            x = self._resize(activated, convolutions, f"{name}_shortcut")
        return self.style.add(x, residual, name=name)

    def _resize(
        self, x: keras.KerasTensor, convolutions: list[dict[str, Any]], name: str
    ) -> keras.KerasTensor:
        """Bring the block's input to the shape of its branch."""
        filters = convolutions[-1]["filters"]
        stride = math.prod(convolution.get("stride", 1) for convolution in convolutions)
        if self.shortcut == "A":
            return Shortcut(filters, stride, name=name)(x)
        if self.shortcut != "B":
            raise ValueError(
                f'shortcut must be "A" (zero padding) or "B" (projection), got {self.shortcut!r}.'
            )
        x = self.style.conv(
            x,
            filters,
            1,
            stride=stride,
            name=f"{name}_conv",
        )
        if self.preactivated:
            return x
        return self.style.norm_layer(x, name=name)


def stages(
    x: keras.KerasTensor,
    block: Residual,
    plan: Sequence[tuple[int, int, int]],
    *,
    first_stride: int = 1,
) -> keras.KerasTensor:
    """Add stages of blocks, each but the first halving height and width.

    Args:
        plan: the number of blocks of each stage, and their inner and outer channels.
        first_stride: stride of the first stage.
    """
    all_blocks = sum(num_blocks for num_blocks, _, _ in plan)
    before = 0
    for stage, (num_blocks, inner, filters) in enumerate(plan, start=1):
        stride = first_stride if stage == 1 else 2
        for number in range(1, num_blocks + 1):
            style = block.style.at_depth(before + number, all_blocks)
            x = replace(block, style=style)(
                x,
                inner,
                filters,
                stride=stride,
                name=f"stage{stage}_block{number}",
            )
            stride = 1
        before += num_blocks
    if block.preactivated:
        x = preactivation(x, style=block.style, name="last")
    return x


def preactivation(x: keras.KerasTensor, *, style: Style, name: str) -> keras.KerasTensor:
    """Add a normalisation and the non-linearity."""
    x = style.norm_layer(x, name=name)
    return style.activate(x, name=name)
