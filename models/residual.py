"""Residual blocks and the stages that they form, for every family with an addition in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from epochal.models.blocks import Style
from epochal.models.layers.shortcut import Shortcut


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A residual block: a branch of convolutions, added to its own input.

    Args:
        bottleneck: 1x1, 3x3 and 1x1 convolutions instead of two 3x3 ones.
        preactivated: normalisation and non-linearity stand before each convolution and none behind the addition, so
            that the shortcut is the identity (He et al. 2016, arXiv 1603.05027); else behind, as in arXiv 1512.03385.
        shortcut: where shapes change, "A" subsamples and pads with zeros, "B" projects with a 1x1 convolution.
        groups: of the 3x3 convolution of a bottleneck (Xie et al. 2017, arXiv 1611.05431).
        stride_first: the bottleneck's first convolution carries the stride, not its 3x3 one.
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
        """Returns `[N, ceil(H / stride), ceil(W / stride), filters]`; `inner` is the branch's width."""
        block = self._preactivated if self.preactivated else self._original
        return block(x, self._convolutions(inner, filters, stride), name)

    def _convolutions(self, inner: int, filters: int, stride: int) -> list[dict[str, Any]]:
        if not self.bottleneck:
            return [{"filters": inner, "stride": stride}, {"filters": filters}]
        outer, middle = (stride, 1) if self.stride_first else (1, stride)
        return [
            {"filters": inner, "kernel": 1, "stride": outer},
            {"filters": inner, "stride": middle, "groups": self.groups},
            {"filters": filters, "kernel": 1},
        ]

    def _original(
        self, x: keras.KerasTensor, convolutions: list[dict[str, Any]], name: str
    ) -> keras.KerasTensor:
        residual = x
        last = len(convolutions) - 1
        for i, convolution in enumerate(convolutions):
            part = f"{name}_{'abc'[i]}"
            residual = self.style.conv(residual, name=f"{part}_conv", **convolution)
            residual = self.style.norm_layer(residual, name=part)
            residual = residual if i == last else self.style.activate(residual, name=part)
        if residual.shape != x.shape:
            x = self._resized(x, convolutions, f"{name}_shortcut")
        return self.style.activate(self.style.add(x, residual, name=name), name=name)

    def _preactivated(
        self, x: keras.KerasTensor, convolutions: list[dict[str, Any]], name: str
    ) -> keras.KerasTensor:
        first = residual = preactivation(x, style=self.style, name=f"{name}_a")
        for i, convolution in enumerate(convolutions):
            part = f"{name}_{'abc'[i]}"
            residual = preactivation(residual, style=self.style, name=part) if i else residual
            residual = self.style.conv(residual, name=f"{part}_conv", **convolution)
        if residual.shape != x.shape:
            x = self._resized(first, convolutions, f"{name}_shortcut")
        return self.style.add(x, residual, name=name)

    def _resized(
        self, x: keras.KerasTensor, convolutions: list[dict[str, Any]], name: str
    ) -> keras.KerasTensor:
        filters = convolutions[-1]["filters"]
        stride = math.prod(convolution.get("stride", 1) for convolution in convolutions)
        if self.shortcut == "A":
            return Shortcut(filters, stride, name=name)(x)
        if self.shortcut != "B":
            raise ValueError(
                f'shortcut must be "A" (zero padding) or "B" (projection), got {self.shortcut!r}.'
            )
        x = self.style.conv(x, filters, 1, stride=stride, name=f"{name}_conv")
        return x if self.preactivated else self.style.norm_layer(x, name=name)


def stages(
    x: keras.KerasTensor,
    block: Residual,
    plan: Sequence[tuple[int, int, int]],
    *,
    first_stride: int = 1,
) -> keras.KerasTensor:
    """Adds stages of blocks, each but the first halving height and width.

    Args:
        plan: of each stage the number of blocks, and their inner and outer channels.
        first_stride: of the first stage.
    """
    for stage, (blocks, inner, filters) in enumerate(plan, start=1):
        for i in range(1, blocks + 1):
            stride = 1 if i > 1 else first_stride if stage == 1 else 2
            x = block(x, inner, filters, stride=stride, name=f"stage{stage}_block{i}")
    return preactivation(x, style=block.style, name="last") if block.preactivated else x


def preactivation(x: keras.KerasTensor, *, style: Style, name: str) -> keras.KerasTensor:
    """Adds a normalisation and the non-linearity."""
    return style.activate(style.norm_layer(x, name=name), name=name)
