"""Clipping of gradients: arithmetic and figures, without a model or an optimizer.

`Clipper` is used in two ways. `GradientClipping` puts it on the `apply` of a Keras optimizer. A
training step that is written by hand calls it between the reduction over the replicas and the
optimizer:

    clipper = Clipper(1.0, by="norm")
    clipper.build(strategy)                 # before the step is traced: makes the variables
    gradients = clipper(gradients, scale)   # in the step, in the context of a replica

`gradients` are dense tensors, none of them None, summed over all replicas and multiplied by
`scale`, a scalar tensor (`optimizer.scale_loss(1.0)`; 1 without loss scaling). `ClippingLog`
is the callback that logs the figures at the end of an epoch and carries the state into checkpoints.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from epochal.callbacks.parts.gradients import clip_factor, global_norm
from epochal.callbacks.parts.latest_norms import LatestNorms

METHODS = ("norm", "variable", "value", "percentile")


class Clipped(NamedTuple):
    """Clipped gradients, their global norm before, and whether any was beyond the limit."""

    gradients: list[tf.Tensor]
    norm: tf.Tensor
    is_clipped: tf.Tensor


class Clipper:
    """Clips gradients to `limit` in the terms of `by`, as `GradientClipping` describes them.

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(self, limit: float | None = None, by: str = "norm") -> None:
        if by not in METHODS:
            methods = ", ".join(METHODS)
            raise ValueError(f"by must be one of {methods}, got {by!r}.")
        if limit is not None and not 0 < limit < math.inf:
            raise ValueError(f"limit must be None or a positive number, got {limit}.")
        if by == "percentile" and limit is not None and limit > 100:
            raise ValueError(f"limit must be a percentile, at most 100, got {limit}.")
        self.limit = limit
        self.by = by
        self.latest = LatestNorms()
        self._totals: Any = None

    def build(self, strategy: Any) -> None:
        """Make the variables in the scope of `strategy`; those of an earlier call are forgotten."""
        with strategy.scope():
            # The sum of the norms, the steps that were clipped, and all steps; steps whose norm is
            # not finite are left out. Every replica counts alone, without communication: all see
            # the same gradients.
            self._totals = tf.Variable(
                tf.zeros(3),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self.latest.build()

    def __call__(self, gradients: Sequence[tf.Tensor], scale: tf.Tensor) -> list[tf.Tensor]:
        """Return the clipped gradients of a step, and count it in the figures; after `build`."""
        clipped = self.clip(gradients, scale)
        self.latest.add(clipped.norm)
        norm = tf.cast(clipped.norm, tf.float32)
        is_clipped = tf.cast(clipped.is_clipped, tf.float32)
        counts = tf.stack([norm, is_clipped, 1.0])
        is_finite = tf.math.is_finite(clipped.norm)
        self._totals.assign_add(tf.where(is_finite, counts, tf.zeros(3)))
        return clipped.gradients

    def clip(self, gradients: Sequence[tf.Tensor], scale: tf.Tensor) -> Clipped:
        """Return the clipped gradients and their norm, and count nothing.

        `gradients` are multiples by `scale`, the limit and the norm are without it. A norm that is
        not finite makes every gradient NaN.
        """
        norm = global_norm(gradients)
        scale = tf.cast(scale, norm.dtype)
        if self.limit is None:
            results = list(gradients)
            is_clipped = tf.constant(False)
        else:
            limit = self.limit
            if self.by == "percentile":
                limit = tf.cast(self.latest.percentile(self.limit), norm.dtype)
            if self.by == "value":
                results, is_clipped = _clip_values(gradients, scale * limit)
            else:
                norms = [norm] * len(gradients)
                if self.by == "variable":
                    norms = [tf.cast(global_norm([g]), norm.dtype) for g in gradients]
                results, is_clipped = _clip_norms(gradients, norms, scale * limit)
        spoilt = tf.where(tf.math.is_finite(norm), tf.ones_like(norm), math.nan)
        results = [gradient * tf.cast(spoilt, gradient.dtype) for gradient in results]
        return Clipped(results, norm / scale, is_clipped)

    def figures(self) -> dict[str, float]:
        """Return `gradient_norm` and, with a limit, `clipped_steps` since `clear_figures`."""
        norms, clipped, steps = self._totals.numpy().tolist()
        figures = {"gradient_norm": norms / steps if steps else math.inf}
        if self.limit is not None:
            figures["clipped_steps"] = clipped / steps if steps else 0.0
        return figures

    def clear_figures(self) -> None:
        """Begin the sums of the figures anew; the latest norms stay."""
        self._totals.assign(tf.zeros(3))

    def reset(self) -> None:
        """Forget all steps."""
        self.clear_figures()
        self.latest.reset()

    def get_state(self) -> dict[str, Any]:
        """Return the sums of the figures, and the latest norms."""
        totals = np.zeros(3) if self._totals is None else self._totals.numpy()
        return {
            "norms": float(totals[0]),
            "clipped": float(totals[1]),
            "steps": float(totals[2]),
            "latest": [self.latest.read()],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `build`."""
        self._totals.assign([state["norms"], state["clipped"], state["steps"]])
        self.latest.assign(state["latest"][0])


def _clip_values(
    gradients: Sequence[tf.Tensor], limit: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor]:
    results = []
    largest = []
    for gradient in gradients:
        bound = tf.cast(limit, gradient.dtype)
        results.append(tf.clip_by_value(gradient, -bound, bound))
        largest_of_gradient = tf.reduce_max(tf.abs(gradient))
        largest.append(tf.cast(largest_of_gradient, limit.dtype))
    return results, tf.reduce_any(tf.stack(largest) > limit)


def _clip_norms(
    gradients: Sequence[tf.Tensor], norms: Sequence[tf.Tensor], limit: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor]:
    results = []
    for gradient, norm in zip(gradients, norms, strict=True):
        results.append(gradient * tf.cast(clip_factor(norm, limit), gradient.dtype))
    return results, tf.reduce_any(tf.stack(norms) > limit)
