"""The ways to make gradients shorter, without a model or an optimizer."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.callbacks.parts.gradients import clip_factor, global_norm
from epochal.callbacks.parts.percentile import RunningPercentile

KINDS = ("norm", "variable", "value", "percentile")


class Clipper:
    """Clips to `limit` in the terms of `by`, as `GradientClipping` describes.

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(self, limit: float | None, by: str) -> None:
        if by not in KINDS:
            raise ValueError(f"by must be one of {', '.join(KINDS)}, got {by!r}.")
        if limit is not None and not 0 < limit < math.inf:
            raise ValueError(f"limit must be None or a positive number, got {limit}.")
        if by == "percentile" and (limit or 0) > 100:
            raise ValueError(f"limit must be a percentile, at most 100, got {limit}.")
        self.limit = limit
        self.by = by
        self.running: Any = None  # a RunningPercentile, once built

    def build(self) -> None:
        """Makes the variables, in the scope of the strategy; `running` holds the latest norms whatever the kind."""
        self.running = RunningPercentile((self.limit or 100) if self.by == "percentile" else 100)

    def norms(self) -> np.ndarray:
        """Returns the norms of the latest 100 steps, oldest first, infinity where there was none yet."""
        return (
            np.full(100, math.inf, np.float32) if self.running is None else self.running.get_state()
        )

    def __call__(
        self, gradients: Sequence[tf.Tensor], scale: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, Any]:
        """Returns the clipped gradients, their norm before, and whether any was beyond the limit.

        `gradients` are multiples by `scale` (of a LossScaleOptimizer), limit and norm are without it. A norm that is
        not finite makes every gradient NaN.
        """
        norm = global_norm(gradients)
        scale = tf.cast(scale, norm.dtype)
        parts, shortened = self._clipped(gradients, norm, scale)
        spoilt = tf.where(tf.math.is_finite(norm), tf.ones_like(norm), math.nan)
        if self.running:
            self.running.add(norm / scale)
        return [g * tf.cast(spoilt, g.dtype) for g in parts], norm / scale, shortened

    def _clipped(
        self, gradients: Sequence[tf.Tensor], norm: tf.Tensor, scale: tf.Tensor
    ) -> tuple[Sequence[Any], Any]:
        if self.limit is None:
            return gradients, False
        limit = scale * (
            tf.cast(self.running.limit(), scale.dtype) if self.by == "percentile" else self.limit
        )
        if self.by == "value":
            bounds = [tf.cast(limit, g.dtype) for g in gradients]
            parts = [
                tf.clip_by_value(g, -bound, bound)
                for g, bound in zip(gradients, bounds, strict=True)
            ]
            largest = tf.stack([tf.cast(tf.reduce_max(tf.abs(g)), norm.dtype) for g in gradients])
            return parts, tf.reduce_any(largest > limit)
        norms = (
            [global_norm([g]) for g in gradients]
            if self.by == "variable"
            else [norm] * len(gradients)
        )
        norms = [tf.cast(each, limit.dtype) for each in norms]
        parts = [
            g * tf.cast(clip_factor(each, limit), g.dtype)
            for g, each in zip(gradients, norms, strict=True)
        ]
        return parts, tf.reduce_any(tf.stack(norms) > limit)


def check_optimizer(optimizer: Any) -> None:
    """Raises ValueError where `GradientClipping` cannot sit on an optimizer."""
    steps = getattr(
        getattr(optimizer, "inner_optimizer", optimizer), "gradient_accumulation_steps", None
    )
    if steps:
        raise ValueError(
            f"GradientClipping would clip each of {steps} accumulated parts: use larger batches."
        )
    if "apply" in vars(optimizer):
        raise ValueError(
            f"apply of optimizer {optimizer.name!r} is replaced already: use one GradientClipping."
        )
