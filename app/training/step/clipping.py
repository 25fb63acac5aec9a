"""Clipping as a gradient transform, which also measures how long gradients are."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.training.step.gradient_transforms import StepContext
from epochal.callbacks.parts.clipper import Clipper
from epochal.callbacks.parts.phase import Phase


class Clipping(keras.callbacks.Callback):
    """Makes gradients that are too long shorter in each step, and logs their norm; without a limit it only measures.

    It is one of the model's `gradient_transforms`, and a callback that logs `gradient_norm` (mean over the epoch's
    steps of finite norm, before clipping, without loss scaling; infinite if there were none) and, with a limit,
    `clipped_steps` (the share that was clipped). A norm that is not finite makes the gradient NaN on all replicas, so
    that a loss-scale optimizer skips the step. Make it in the scope of the strategy.

    Args:
        limit: what gradients are clipped to; None clips nothing
        by: "norm", "variable", "value" or "percentile", as `epochal.callbacks.GradientClipping` describes
    """

    phase = Phase.STEER
    key = "gradient_clipping"

    def __init__(self, limit: float | None = None, *, by: str = "norm") -> None:
        super().__init__()
        self.limit = limit
        self._clipper = Clipper(limit, by)
        self._clipper.build()
        # The sum of norms, the steps that were clipped, and all steps of finite norm. Every replica counts alone,
        # without communication: all see the same sum of gradients.
        self._totals = tf.Variable(
            tf.zeros(3),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._unused = self.get_state()

    def __call__(self, gradients: list[tf.Tensor], context: StepContext) -> list[tf.Tensor]:
        """Return the clipped gradients, which all replicas hold; in a training step."""
        clipped, norm, is_clipped = self._clipper(gradients, context.loss_scale)
        counts = tf.stack([tf.cast(count, tf.float32) for count in (norm, is_clipped, 1)])
        self._totals.assign_add(tf.where(tf.math.is_finite(norm), counts, tf.zeros(3)))
        return list(clipped)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forget the steps before."""
        self.reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log the sums and clear them; not when an epoch begins: a resumed run brings its own."""
        norms, clipped, steps = map(float, self._totals.numpy())
        if logs is not None:
            logs["gradient_norm"] = norms / steps if steps else math.inf
            if self.limit is not None:
                logs["clipped_steps"] = clipped / steps if steps else 0.0
        self._totals.assign(tf.zeros(3))

    def reset(self) -> None:
        """Forget all steps."""
        self.set_state(self._unused)

    def latest_norms(self) -> np.ndarray:
        """Return the norms of at most 100 steps, oldest first, as they were before clipping: float32."""
        latest = self._clipper.norms()
        return latest[np.isfinite(latest)]

    def get_state(self) -> dict[str, Any]:
        """Return the sums of the epoch so far, and the latest norms."""
        norms, clipped, steps = map(float, self._totals.numpy())
        return {
            "norms": norms,
            "clipped": clipped,
            "steps": steps,
            "latest": [self._clipper.norms()],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self._totals.assign([state["norms"], state["clipped"], state["steps"]])
        self._clipper.running.set_state(state["latest"][0])
