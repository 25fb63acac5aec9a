"""Clips what the optimizer really uses: the gradient summed over all replicas."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from callbacks.parts.backend import require_tensorflow
from callbacks.parts.failure import undo_on_failure
from callbacks.parts.gradients import clip_factor, dense, global_norm


class GradientClipping(keras.callbacks.Callback):
    """Scales the gradient down to the global norm `max_norm` where it is longer; None only measures.

    Pascanu et al. 2013 (arXiv:1211.5063, algorithm 1). Keras' own `global_clipnorm` clips each replica's
    part before the sum, so that its result depends on the number of devices; this does not, for a second
    all-reduce. It sits on `model.optimizer.apply` until training ends, or the next fit begins if an
    exception ended this one. A norm that is not finite makes the gradient NaN on all replicas, so that a
    LossScaleOptimizer skips the step. Logs `gradient_norm` (mean over the epoch's other steps, before
    clipping, without loss scaling; infinite if there were none) and, with a limit, `clipped_steps` (the
    share of those that were clipped).

    Raises:
        ValueError: `max_norm` out of range, an accumulating optimizer, or two of these in one fit.
    """

    def __init__(self, max_norm: float | None = None) -> None:
        super().__init__()
        if max_norm is not None and not 0 < max_norm < math.inf:
            raise ValueError(f"max_norm must be None or a positive number, got {max_norm}.")
        self.max_norm = max_norm
        self._totals: Any = None  # sum of norms, steps clipped, steps of finite norm
        self._swapped: tuple[Any, Any] | None = None  # the model and the optimizer that carry the clipping

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Puts the clipping in place."""
        require_tensorflow("GradientClipping", "give the optimizer global_clipnorm instead")
        self._release()
        model, optimizer = self.model, self.model.optimizer
        _check(optimizer)
        with model.distribute_strategy.scope():
            # Every replica counts alone, without communication: all see the same reduced gradient.
            self._totals = tf.Variable(
                tf.zeros(3),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
        optimizer.apply = partial(self._apply, optimizer, optimizer.apply)
        model.make_train_function(force=True)  # fit has just made one without the clipping
        model.make_train_function = partial(self._make_plain, model)
        self._swapped = model, optimizer
        undo_on_failure(self, self._release)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the sums and clears them; not when an epoch begins: a resumed run brings its own."""
        norms, clipped, steps = self.get_state().values()
        if logs is not None:
            logs["gradient_norm"] = norms / steps if steps else math.inf
            if self.max_norm is not None:
                logs["clipped_steps"] = clipped / steps if steps else 0.0
        self._totals.assign(tf.zeros(3))

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Takes the clipping away."""
        self._release()

    def get_state(self) -> dict[str, float]:
        """Returns the sums of the epoch so far."""
        totals = (0.0, 0.0, 0.0) if self._totals is None else map(float, self._totals.numpy())
        return dict(zip(("norms", "clipped", "steps"), totals, strict=True))

    def set_state(self, state: dict[str, float]) -> None:
        """Takes over what `get_state` returned; after `on_train_begin`."""
        self._totals.assign([state["norms"], state["clipped"], state["steps"]])

    def _release(self) -> None:
        if self._swapped is not None:
            (model, optimizer), self._swapped = self._swapped, None
            del optimizer.apply, model.make_train_function
            model.train_function = None

    def _make_plain(self, model: Any, force: bool = False) -> None:
        self._release()
        model.make_train_function(force=True)

    def _apply(self, optimizer: Any, apply: Callable[..., None], grads: Sequence[Any], variables: Any = None) -> None:
        replica = tf.distribute.get_replica_context()
        replicas = replica.num_replicas_in_sync if replica else 1
        present = [g for g in grads if g is not None]
        if replicas > 1 and present:
            present = replica.all_reduce(tf.distribute.ReduceOp.SUM, [dense(g) for g in present])
        if present:
            # Divided by the replicas, because the optimizer's own sum over them follows.
            factor = self._measure(global_norm(present), optimizer.scale_loss(tf.ones(()))) / replicas
            present = [tf.math.scalar_mul(tf.cast(factor, g.dtype), g) for g in present]
        parts = iter(present)
        return apply([None if g is None else next(parts) for g in grads], variables)

    def _measure(self, norm: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        norm /= tf.cast(scale, norm.dtype)
        counts = [tf.cast(count, tf.float32) for count in (norm, norm > (self.max_norm or math.inf), 1)]
        self._totals.assign_add(tf.where(tf.math.is_finite(norm), tf.stack(counts), tf.zeros(3)))
        return clip_factor(norm, self.max_norm)


def _check(optimizer: Any) -> None:
    steps = getattr(getattr(optimizer, "inner_optimizer", optimizer), "gradient_accumulation_steps", None)
    if steps:
        raise ValueError(f"GradientClipping would clip each of {steps} accumulated parts: use larger batches.")
    if "apply" in vars(optimizer):
        raise ValueError(f"apply of optimizer {optimizer.name!r} is replaced already: use one GradientClipping.")
