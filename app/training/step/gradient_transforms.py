"""Gradient transforms: what the gradients of a step go through between their sum over replicas and the optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from epochal.callbacks.parts.gradients import dense


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a transform is told of the step.

    Args:
        loss_scale: a scalar by which the gradients are multiplied, 1 without a loss-scale optimizer
    """

    loss_scale: tf.Tensor


GradientTransform = Callable[[list[tf.Tensor], StepContext], list[tf.Tensor]]


def apply_transforms(
    transforms: Sequence[GradientTransform], gradients: Sequence[Any], loss_scale: tf.Tensor
) -> list[Any]:
    """Sum gradients over the replicas, put them through the transforms, and return this replica's share.

    Keras' optimizers sum over replicas themselves, and a loss scale or a gain may ask there for all gradients. So each
    replica gives them an equal share of the sum that all of them hold.

    Args:
        transforms: called in their order; with none of them nothing is done
        gradients: of this replica's samples; None where a weight has none
        loss_scale: by which they are multiplied
    """
    present = [dense(gradient) for gradient in gradients if gradient is not None]
    if not transforms or not present:
        return list(gradients)
    replica = tf.distribute.get_replica_context()
    replicas = replica.num_replicas_in_sync if replica else 1
    if replicas > 1:
        present = replica.all_reduce(tf.distribute.ReduceOp.SUM, present)
    for transform in transforms:
        present = transform(present, StepContext(loss_scale=loss_scale))
    if replicas > 1:
        present = [gradient / tf.cast(replicas, gradient.dtype) for gradient in present]
    shares = iter(present)
    return [None if gradient is None else next(shares) for gradient in gradients]
