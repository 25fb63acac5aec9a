"""The training step, where stock Keras is wrong: a step is the same whatever the number of replicas."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.training.step.objective import Criterion, cross_entropy
from epochal.app.training.step.sample_losses import SampleLosses
from epochal.models.layers.part_of_batch import Part, first_row, part_of_batch


class Classifier(keras.Model):
    """A model from images to logits whose `fit` gives the same weights on 1, 2 and 4 replicas.

    Stock Keras weighs each replica's mean alike, however few samples a partial last batch gave it; here every sample
    of the global batch has the same weight. `loss` is the mean cross-entropy without the weight penalty, so that it
    compares with the validation loss. Made from the inputs and outputs of a functional model, whose weights it shares.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.train_function: Any = None
        self.steps_to_skip = 0  # of a resumed epoch: already trained before the run was stopped
        self.criterion: Criterion = cross_entropy
        self.class_weights: np.ndarray | None = (
            None  # float32 `[classes]`: of the gradient, not of the logged loss
        )
        self.sample_losses: SampleLosses | None = (
            None  # of batches that bring weights and positions
        )
        self.micro_batches = 1
        self._loss = keras.metrics.Mean("loss")
        self._accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")

    @property
    def metrics(self) -> list[Any]:
        """Mean loss and accuracy over the images seen since the epoch began."""
        return [self._loss, self._accuracy]

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, Any]:
        """Forward, backward and update on this replica's part of a global batch of `TrainingBatches`."""
        samples, replicas = _global_batch(data[1])
        total: list[Any] = []
        for part in range(self.micro_batches):
            # One part after the other: together they would need the memory that this is to save.
            with tf.control_dependencies([gradient for gradient in total if gradient is not None]):
                pieces = [piece(values, part, self.micro_batches) for values in data]
            with part_of_batch(_part(data[1], pieces[1], part, self.micro_batches)):
                gradients = self._gradients(pieces, samples, replicas * self.micro_batches)
            total = (
                [_sum(*pair) for pair in zip(total, gradients, strict=True)] if total else gradients
            )
        # The optimizer sums over replicas; each gave its own samples' part of the mean.
        self.optimizer.apply_gradients(zip(total, self.trainable_weights, strict=True))
        return self.get_metrics_result()

    def _gradients(self, data: list[tf.Tensor], samples: tf.Tensor, shares: int) -> list[Any]:
        """Of the mean over `samples` and of the penalties, of which this is one of so many shares."""
        images, labels, *emphasis = data
        with tf.GradientTape() as tape:
            logits = self._logits(images, training=True)
            losses = self.criterion(labels, logits)
            loss = tf.reduce_sum(self._weighed(losses, labels, *emphasis[:1])) / tf.cast(
                samples, losses.dtype
            )
            loss = self.optimizer.scale_loss(self._penalized(loss, shares))
        self._observe(losses, labels, logits)
        if self.sample_losses is not None:
            self.sample_losses.record(emphasis[1], losses)
        return tape.gradient(loss, self.trainable_weights)

    def _logits(self, images: tf.Tensor, *, training: bool) -> tf.Tensor:
        """The answers for some images, or for none: then one is made up, for oneDNN's kernels fail on none."""
        if self.distribute_strategy.num_replicas_in_sync * self.micro_batches == 1:
            return self(images, training=training)
        count = tf.shape(images)[0]
        made_up = tf.zeros([tf.cast(count == 0, tf.int32), *images.shape[1:]], images.dtype)
        return self(tf.concat([images, made_up], axis=0), training=training)[:count]

    def _weighed(
        self, losses: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The losses times the weights of their images and classes."""
        if weights is not None:
            losses *= tf.cast(weights, losses.dtype)
        if self.class_weights is None:
            return losses
        return losses * tf.cast(tf.gather(self.class_weights, labels), losses.dtype)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """What a step minimises, for a batch that is on every replica: callbacks differentiate it."""
        replicas = self.distribute_strategy.num_replicas_in_sync
        return self._penalized(
            tf.reduce_mean(self._weighed(self.criterion(y, y_pred), y)) / replicas, replicas
        )

    def _penalized(self, loss: tf.Tensor, shares: int) -> tf.Tensor:
        """The loss with one of so many shares of the penalties of weights."""
        return (
            loss
            + tf.add_n(
                [tf.zeros((), loss.dtype), *[tf.cast(one, loss.dtype) for one in self.losses]]
            )
            / shares
        )

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Loss and accuracy of a batch in inference mode."""
        images, labels = data
        logits = self._logits(images, training=False)
        self._observe(self.criterion(labels, logits), labels, logits)
        return self.get_metrics_result()

    def _observe(self, losses: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor) -> None:
        self._loss.update_state(losses)
        self._accuracy.update_state(labels, logits)

    def make_train_function(self, force: bool = False) -> Any:
        """Keras' function, except that steps which were trained before a stop are passed over."""
        if self.train_function is None or force:
            super().make_train_function(force)
            trained = self.train_function
            self.train_function = lambda iterator: (
                self.get_metrics_result() if self.steps_to_skip else trained(iterator)
            )
        return self.train_function

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing is left to build; Keras' own draws a batch here and fails when replicas got unequal shares."""


class Callbacks(keras.callbacks.CallbackList):
    """Keras' list of callbacks, silent during the steps that a resumed epoch passes over."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Passed on unless the step is passed over."""
        if not self.model.steps_to_skip:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Passed on unless the step is passed over."""
        if self.model.steps_to_skip:
            self.model.steps_to_skip -= 1
        else:
            super().on_train_batch_end(batch, logs)


def piece(values: tf.Tensor, part: int | tf.Tensor, parts: int) -> tf.Tensor:
    """Returns one of so many consecutive parts along the first axis, as equal as can be."""
    count = tf.shape(values)[0]
    return (
        values
        if parts == 1
        else values[first_row(count, part, parts) : first_row(count, part + 1, parts)]
    )


def _part(whole: tf.Tensor, own: tf.Tensor, part: int, parts: int) -> Part:
    """What layers must know of a part's rows."""
    rows = tf.shape(whole, tf.int64)[0]
    here = tf.shape(own, tf.int64)[0]
    context = tf.distribute.get_replica_context()
    anywhere = here
    if (
        parts > 1 and context is not None and context.num_replicas_in_sync > 1
    ):  # a whole batch is never empty
        anywhere = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(here, tf.int32))
    return Part(part, first_row(rows, part, parts), rows, here, (anywhere > 0) | (parts == 1))


def _sum(left: Any, right: Any) -> Any:
    """The sum of two gradients; None where a weight has none."""
    return None if right is None else left + right


def _global_batch(labels: tf.Tensor) -> tuple[tf.Tensor, int]:
    """Samples in the global batch, and the number of replicas that share it."""
    context = tf.distribute.get_replica_context()
    local = tf.shape(labels)[0]
    if context is None or context.num_replicas_in_sync == 1:
        return local, 1
    return context.all_reduce(tf.distribute.ReduceOp.SUM, local), context.num_replicas_in_sync
