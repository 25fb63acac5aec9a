"""Gradient transforms: between the sum of gradients over replicas and the optimizer."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from epochal.callbacks.parts.gradients import dense

# Takes the gradients, dense and the same on all replicas, and the loss scale by which they are
# multiplied, a scalar; returns them changed.
GradientTransform = Callable[[list[tf.Tensor], tf.Tensor], list[tf.Tensor]]


def apply_transforms(
    transforms: Sequence[GradientTransform], gradients: Sequence[Any], loss_scale: tf.Tensor
) -> list[Any]:
    """Sum gradients over replicas, put them through the transforms, return this replica's share.

    Keras' optimizers sum over replicas themselves, and a loss scale or a gain may ask there for all
    gradients. So each replica gives them an equal share of the sum that all of them hold.

    Args:
        transforms: called in their order; with none of them nothing is done
        gradients: of this replica's samples; None where a weight has none
        loss_scale: by which they are multiplied
    """
    present = [dense(gradient) for gradient in gradients if gradient is not None]
    if not transforms or not present:
        return list(gradients)
    replica = tf.distribute.get_replica_context()
    replicas = 1
    if replica:
        replicas = replica.num_replicas_in_sync
    if replicas > 1:
        present = replica.all_reduce(tf.distribute.ReduceOp.SUM, present)
    for transform in transforms:
        present = transform(present, loss_scale)
    remaining = iter(present)
    shares: list[Any] = []
    for gradient in gradients:
        if gradient is None:
            shares.append(None)
            continue
        share = next(remaining)
        if replicas > 1:
            share = share / tf.cast(replicas, share.dtype)
        shares.append(share)
    return shares
