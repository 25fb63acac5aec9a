"""Logits of every image of a split, once each and in order, from which figures are computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.evaluation.views import Views


def predict_logits(
    model: keras.Model,
    batches: Iterable[tuple[Any, Any]],
    views: Views | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Run `model` in inference mode over (images [B, H, W, C], labels [B]) batches.

    Batches may be tf.data or NumPy, of any size, the last one too; they are never shuffled nor
    dropped. It is not `model.predict`, which gives no labels back: a second pass over the data for
    them could differ.

    Args:
        model: of one input.
        batches: of what the network sees; with `views` of stored images.
        views: of each image, over which probabilities are averaged.

    Returns:
        Logits float32 [N, C] and labels int32 [N] in the order of the batches.

    Raises:
        ValueError: there is no image, or a batch has another number of labels, another image shape
            or another dtype than uint8 and the model's own.
    """
    input_dtype = model.inputs[0].dtype
    shape = tuple(model.inputs[0].shape[1:])
    if views is not None:
        shape = views.shape.stored_shape
    forward = _trace(model, shape, views)
    logits: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for images, batch_labels in batches:
        _check_batch(model, images, batch_labels, shape)
        # oneDNN's convolution fails on an empty batch.
        if len(batch_labels) == 0:
            continue
        inputs = tf.cast(images, input_dtype)
        outputs = forward(inputs)
        logits.append(outputs.numpy())
        labels.append(np.asarray(batch_labels, np.int32))
    if not labels:
        raise ValueError(
            "There is no image to evaluate: the data set gave 0 images, at least 1 is needed."
        )
    return np.concatenate(logits), np.concatenate(labels)


def _trace(model: keras.Model, shape: tuple[int | None, ...], views: Views | None) -> Any:
    """Return the model as a function that is traced once.

    Its batch dimension is free, so that the last batch traces nothing new.
    """
    signature = tf.TensorSpec([None, *shape], model.inputs[0].dtype)

    @tf.function(input_signature=[signature])
    def forward(images: tf.Tensor) -> tf.Tensor:
        if views is not None:
            return views.logits(model, images)
        return tf.cast(model(images, training=False), tf.float32)

    return forward


def _check_batch(
    model: keras.Model, images: Any, labels: Any, expected: tuple[int | None, ...]
) -> None:
    """Raise ValueError unless images are of the expected shape, bytes, and each has a label."""
    model_input = model.inputs[0]
    shape = tuple(images.shape[1:])
    if not tf.TensorShape(expected).is_compatible_with(shape):
        raise ValueError(f"Model {model.name!r} takes images {expected}, got {shape}.")
    dtype = tf.as_dtype(images.dtype).name
    if dtype not in ("uint8", model_input.dtype):
        raise ValueError(
            f"Model {model.name!r} takes images 0..255 as uint8, got {dtype}; Keras would cut them."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"A batch must have one label an image, got {len(images)} and {len(labels)}."
        )
