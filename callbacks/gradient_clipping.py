"""Gradient clipping of what the optimizer really uses: the gradient summed over all replicas."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.clipping import Clipper
from epochal.callbacks.parts.clipping_log import ClippingLog
from epochal.callbacks.parts.gradients import dense
from epochal.callbacks.parts.replacing import Replacement, refuse_second


class GradientClipping(ClippingLog):
    """Makes gradients that are too long shorter; without a limit it only measures.

    Keras' own `global_clipnorm` clips each replica's part before the sum, so that its result
    depends on the number of devices; this does not, for a second all-reduce. It sits on
    `model.optimizer.apply` until training ends, or the next fit begins if an exception ended this
    one. A norm that is not finite makes the gradient NaN on all replicas, so that a
    LossScaleOptimizer skips the step. Logs `gradient_norm` (mean over the epoch's other steps,
    before clipping, without loss scaling; infinite if there were none) and, with a limit,
    `clipped_steps` (the share that was clipped).

    Args:
        limit: what gradients are clipped to; None clips nothing.
        by: "norm": the global norm, keeping the direction (Pascanu et al. 2013, arXiv:1211.5063,
            algorithm 1); "variable": each variable's norm; "value": each value; "percentile": the
            global norm, to this percentile of those of the latest 100 steps (the first 10 are not
            clipped).

    Raises:
        ValueError: arguments out of range, an accumulating optimizer, or two of these in one fit.
    """

    def __init__(self, limit: float | None = None, *, by: str = "norm") -> None:
        super().__init__(Clipper(limit, by))
        self.limit = limit
        self._replacement: Replacement | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Put the clipping in place, and forget earlier fits."""
        require_tensorflow("GradientClipping", "give the optimizer global_clipnorm instead")
        self.on_train_end()
        optimizer = self.model.optimizer
        _refuse_accumulation(optimizer)
        refuse_second(self, optimizer, "apply")
        self.clipper.build(self.model.distribute_strategy)
        apply = partial(self._apply, optimizer, optimizer.apply)
        self._replacement = Replacement(
            self,
            optimizer,
            "apply",
            apply,
            retrace=True,
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Take the clipping away."""
        if self._replacement is not None:
            self._replacement.undo()

    def _apply(
        self,
        optimizer: Any,
        apply: Callable[..., None],
        grads: Sequence[Any],
        variables: Any = None,
    ) -> None:
        replica = tf.distribute.get_replica_context()
        replicas = 1
        if replica:
            replicas = replica.num_replicas_in_sync
        gradients = [dense(gradient) for gradient in grads if gradient is not None]
        if not gradients:
            apply(grads, variables)
            return
        if replicas > 1:
            gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        loss_scale = optimizer.scale_loss(tf.ones(()))
        clipped = iter(self.clipper(gradients, loss_scale))
        results: list[Any] = []
        for gradient in grads:
            if gradient is None:
                results.append(None)
                continue
            share = next(clipped)
            if replicas > 1:
                # The optimizer's own sum over the replicas follows.
                share = share / tf.cast(replicas, share.dtype)
            results.append(share)
        apply(results, variables)


def _refuse_accumulation(optimizer: Any) -> None:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    steps = getattr(inner, "gradient_accumulation_steps", None)
    if steps:
        raise ValueError(
            f"GradientClipping would clip each of {steps} accumulated parts: use larger batches."
        )
