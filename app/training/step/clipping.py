"""Clipping as a gradient transform, which also measures how long gradients are."""

import tensorflow as tf

from epochal.app.training.step.gradient_transforms import StepContext
from epochal.callbacks.parts.clipping import Clipper
from epochal.callbacks.parts.clipping_log import ClippingLog


class Clipping(ClippingLog):
    """Makes gradients that are too long shorter in each step, and logs their norm; without a limit it only measures.

    It is one of the model's `gradient_transforms`, and a callback that logs `gradient_norm` (mean over the epoch's
    steps of finite norm, before clipping, without loss scaling; infinite if there were none) and, with a limit,
    `clipped_steps` (the share that was clipped). A norm that is not finite makes the gradient NaN on all replicas, so
    that a loss-scale optimizer skips the step. Make it in the scope of the strategy.

    Args:
        limit: what gradients are clipped to; None clips nothing
        by: "norm", "variable", "value" or "percentile", as `epochal.callbacks.GradientClipping` describes
    """

    def __init__(self, limit: float | None = None, *, by: str = "norm") -> None:
        super().__init__(Clipper(limit, by))
        self.limit = limit
        self.clipper.build(tf.distribute.get_strategy())

    def __call__(self, gradients: list[tf.Tensor], context: StepContext) -> list[tf.Tensor]:
        """Return the clipped gradients, which all replicas hold; in a training step."""
        return self.clipper(gradients, context.loss_scale)

    def reset(self) -> None:
        """Forget all steps."""
        self.clipper.reset()
