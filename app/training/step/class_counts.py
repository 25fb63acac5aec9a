"""Counts by class over all replicas, of which the macro F1 of validation is computed."""

import keras
import tensorflow as tf


class ClassCounts(keras.metrics.Metric):
    """Counts right predictions, predictions and images of every class, of each replica's part.

    Read outside of a step, the counts are sums over all replicas. They are whole numbers, exact in
    float32 up to 2**24 images of a class.

    Args:
        classes: their number.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(name="class_counts")
        self._classes = classes
        self.counts = self.add_variable((3, classes), "zeros", name="counts")

    def update_state(self, labels: tf.Tensor, logits: tf.Tensor) -> None:
        """Count a part of a batch: `labels` int `[n]`, `logits` float `[n, classes]`."""
        labels = tf.reshape(labels, [-1])
        is_class = tf.one_hot(labels, self._classes, dtype=self.counts.dtype)
        predictions = tf.argmax(logits, axis=1)
        is_predicted = tf.one_hot(predictions, self._classes, dtype=self.counts.dtype)
        counted = tf.stack(
            [
                tf.reduce_sum(is_class * is_predicted, axis=0),
                tf.reduce_sum(is_predicted, axis=0),
                tf.reduce_sum(is_class, axis=0),
            ]
        )
        self.counts.assign_add(counted)

    def result(self) -> tf.Tensor:
        """Return right predictions, predictions and images, `[3, classes]`."""
        return tf.convert_to_tensor(self.counts)
