"""Logits of every image of a split, once each and in order: what the reported figures are computed from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def predict_logits(
    model: keras.Model, batches: Iterable[tuple[Any, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Runs `model` in inference mode over (images [B, H, W, C], labels [B]) batches.

    Batches may be tf.data or NumPy, of any size, the last one too; they are never shuffled nor dropped.
    Returns logits float32 [N, C] and labels int32 [N] in the order of the batches. Raises ValueError when
    there is no image, or when a batch has another number of labels, another image shape or another dtype
    than uint8 and the model's own.

    Not `model.predict`: that gives no labels back, and a second pass over the data for them could differ.
    """
    forward = _forward(model)
    logits: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for images, batch_labels in batches:
        _check(model, images, batch_labels)
        if len(batch_labels) == 0:  # oneDNN's convolution fails on an empty batch
            continue
        logits.append(forward(tf.cast(images, model.inputs[0].dtype)).numpy())
        labels.append(np.asarray(batch_labels, np.int32))
    if not labels:
        raise ValueError(
            "There is no image to evaluate: the data set gave 0 images, at least 1 is needed."
        )
    return np.concatenate(logits), np.concatenate(labels)


def _forward(model: keras.Model) -> Any:
    """The model as one traced function: a free batch dimension, so that the last batch traces nothing new."""
    image = model.inputs[0]
    shape = tf.TensorShape([None, *image.shape[1:]])

    @tf.function(input_signature=[tf.TensorSpec(shape, image.dtype)])
    def forward(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(images, training=False), tf.float32)

    return forward


def _check(model: keras.Model, images: Any, labels: Any) -> None:
    """Raises ValueError unless the batch fits the model and has a label for every image."""
    expected = tuple(model.inputs[0].shape[1:])
    if not tf.TensorShape(expected).is_compatible_with(images.shape[1:]):
        raise ValueError(
            f"Model {model.name!r} takes images {expected}, got {tuple(images.shape[1:])}."
        )
    dtype = tf.as_dtype(images.dtype).name
    if dtype not in ("uint8", model.inputs[0].dtype):
        raise ValueError(
            f"Model {model.name!r} takes images 0..255 as uint8, got {dtype}; Keras would cut them."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"A batch must have one label an image, got {len(images)} and {len(labels)}."
        )
