"""Clips what the optimizer really uses: the gradient summed over all replicas."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.clipper import Clipper, check_optimizer
from epochal.callbacks.parts.failure import undo_by_next_fit, undone
from epochal.callbacks.parts.gradients import dense
from epochal.callbacks.parts.phase import Phase


class GradientClipping(keras.callbacks.Callback):
    """Makes gradients that are too long shorter; without a limit it only measures.

    Keras' own `global_clipnorm` clips each replica's part before the sum, so that its result depends on the number
    of devices; this does not, for a second all-reduce. It sits on `model.optimizer.apply` until training ends, or the
    next fit begins if an exception ended this one. A norm that is not finite makes the gradient NaN on all replicas, so
    that a LossScaleOptimizer skips the step. Logs `gradient_norm` (mean over the epoch's other steps, before clipping,
    without loss scaling; infinite if there were none) and, with a limit, `clipped_steps` (the share that was clipped).

    Args:
        limit: what gradients are clipped to; None clips nothing.
        by: "norm": the global norm, keeping the direction (Pascanu et al. 2013, arXiv:1211.5063, algorithm 1);
            "variable": each variable's norm; "value": each value; "percentile": the global norm, to this percentile
            of those of the latest 100 steps (the first 10 are not clipped).

    Raises:
        ValueError: arguments out of range, an accumulating optimizer, or two of these in one fit.
    """

    phase = Phase.STEER
    key = "gradient_clipping"

    def __init__(self, limit: float | None = None, *, by: str = "norm") -> None:
        super().__init__()
        self.limit = limit
        self._clipper = Clipper(limit, by)
        self._totals: Any = None  # sum of norms, steps clipped, steps of finite norm
        self._swapped: tuple[Any, Any] | None = (
            None  # the model and the optimizer that carry the clipping
        )

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Puts the clipping in place."""
        require_tensorflow("GradientClipping", "give the optimizer global_clipnorm instead")
        self._release()
        model = self.model
        optimizer = self.model.optimizer
        check_optimizer(optimizer)
        with model.distribute_strategy.scope():
            # Every replica counts alone, without communication: all see the same reduced gradient.
            self._totals = tf.Variable(
                tf.zeros(3),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self._clipper.build()
        optimizer.apply = partial(self._apply, optimizer, optimizer.apply)
        model.make_train_function(force=True)  # fit has just made one without the clipping
        self._swapped = model, optimizer
        undo_by_next_fit(self, self._release)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the sums and clears them; not when an epoch begins: a resumed run brings its own."""
        norms, shortened, steps = map(float, self._totals.numpy())
        if logs is not None:
            logs["gradient_norm"] = norms / steps if steps else math.inf
            if self.limit is not None:
                logs["clipped_steps"] = shortened / steps if steps else 0.0
        self._totals.assign(tf.zeros(3))

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Takes the clipping away."""
        self._release()

    def get_state(self) -> dict[str, Any]:
        """Returns the sums of the epoch so far, and the latest norms."""
        totals = (0.0, 0.0, 0.0) if self._totals is None else map(float, self._totals.numpy())
        return dict(zip(("norms", "clipped", "steps"), totals, strict=True)) | {
            "latest": [self._clipper.norms()]
        }

    def latest_norms(self) -> np.ndarray:
        """Returns the norms of at most 100 steps, oldest first, as they were before clipping: float32."""
        latest = self._clipper.norms()
        return latest[np.isfinite(latest)]

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned; after `on_train_begin`."""
        self._totals.assign([state["norms"], state["clipped"], state["steps"]])
        self._clipper.running.set_state(state["latest"][0])

    def _release(self) -> None:
        if self._swapped is not None:
            (model, optimizer), self._swapped = self._swapped, None
            del optimizer.apply
            model.train_function = None
            undone(model, self._release)

    def _apply(
        self,
        optimizer: Any,
        apply: Callable[..., None],
        grads: Sequence[Any],
        variables: Any = None,
    ) -> None:
        replica = tf.distribute.get_replica_context()
        replicas = replica.num_replicas_in_sync if replica else 1
        present = [g for g in grads if g is not None]
        if replicas > 1 and present:
            present = replica.all_reduce(tf.distribute.ReduceOp.SUM, [dense(g) for g in present])
        if present:
            present, norm, shortened = self._clipper(present, optimizer.scale_loss(tf.ones(())))
            counts = tf.stack([tf.cast(count, tf.float32) for count in (norm, shortened, 1)])
            self._totals.assign_add(tf.where(tf.math.is_finite(norm), counts, tf.zeros(3)))
            # Divided by the replicas, because the optimizer's own sum over them follows.
            present = [g / tf.cast(replicas, g.dtype) for g in present] if replicas > 1 else present
        parts = iter(present)
        return apply([None if g is None else next(parts) for g in grads], variables)
