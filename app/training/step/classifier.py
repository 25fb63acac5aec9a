"""The training step: the same whatever the number of replicas, where stock Keras is wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from epochal.app.data.augment.mixing import are_mixed, taken_apart
from epochal.app.data.pipeline import Position
from epochal.app.training.step.class_counts import ClassCounts
from epochal.app.training.step.gradient_transforms import GradientTransform, apply_transforms
from epochal.app.training.step.image_record import ImageRecorder
from epochal.app.training.step.objective import Objective
from epochal.app.training.step.sample_losses import SampleLosses
from epochal.models.layers.part_of_batch import Part, first_row, part_of_batch


class Classifier(keras.Model):
    """A model from images to logits whose `fit` gives the same weights on 1, 2 and 4 replicas.

    Stock Keras weighs each replica's mean alike, however few samples a small batch gave it; here
    every sample of the global batch has the same weight. `loss` is the mean loss without any
    weights and penalties, so that it compares with the validation loss. It shares the weights of
    the functional model that it is made from.

    Args:
        network: the functional model
        objective: what a step minimises
        gradient_transforms: what the sum of gradients over all replicas goes through before the
            optimizer
        micro_batches: parts of a batch, one after the other, whose gradients add up to one update
        recorders: note the loss of each image, or more, of batches that bring weights and positions
        position: where training stands in its data; steps that were trained before a stop are
            passed over
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        objective: Objective,
        gradient_transforms: Sequence[GradientTransform] = (),
        micro_batches: int = 1,
        recorders: Sequence[SampleLosses | ImageRecorder] = (),
        position: Position | None = None,
    ) -> None:
        super().__init__(network.input, network.output, name=network.name)
        self.objective = objective
        self.gradient_transforms = tuple(gradient_transforms)
        self.micro_batches = micro_batches
        self.recorders = tuple(recorders)
        self.position = position
        self.train_function: Any = None
        self._loss = keras.metrics.Mean("loss")
        self._accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        self.class_counts = ClassCounts(network.output.shape[-1])

    @property
    def metrics(self) -> list[Any]:
        """Mean loss and accuracy over the images seen since the epoch began.

        The counts by class, of validation alone, are none of them: no checkpoint needs them.
        """
        return [self._loss, self._accuracy]

    @property
    def losses(self) -> list[Any]:
        """The penalties: those of layers, and the objective's of the weights that are trained."""
        return [*super().losses, *self.objective.penalty.values(self.trainable_weights)]

    @property
    def sample_losses(self) -> SampleLosses | None:
        """What learns the loss of each image for the emphasis on hard ones."""
        for recorder in self.recorders:
            if isinstance(recorder, SampleLosses):
                return recorder
        return None

    @property
    def passes_over_step(self) -> bool:
        """Whether the next step of this epoch was trained before a stop."""
        return self.position is not None and self.position.steps_to_skip > 0

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, Any]:
        """Go forward, backward and update on this replica's part of a batch."""
        labels = data[1]
        samples, replicas = _global_batch(labels)
        if self.objective.full_batch is not None:
            samples = tf.constant(self.objective.full_batch)
        shares = replicas * self.micro_batches
        total: list[Any] = []
        for part in range(self.micro_batches):
            with _after(total):
                pieces = [
                    piece(
                        values,
                        part,
                        self.micro_batches,
                    )
                    for values in data
                ]
            place = _part_of(labels, pieces[1], part, self.micro_batches)
            with part_of_batch(place):
                gradients = self.compute_gradients(
                    pieces,
                    samples=samples,
                    shares=shares,
                )
            total = _sums(total, gradients)
        loss_scale = self.optimizer.scale_loss(tf.ones(()))
        total = apply_transforms(
            self.gradient_transforms,
            total,
            loss_scale,
        )
        # The optimizer sums over replicas; each gave its own samples' part of the mean.
        self.optimizer.apply_gradients(
            zip(
                total,
                self.trainable_weights,
                strict=True,
            )
        )
        return self._logs()

    def compute_gradients(
        self, data: Sequence[tf.Tensor], *, samples: tf.Tensor, shares: int
    ) -> list[Any]:
        """Return one share of the gradients times the loss scale; None where a weight has none.

        Args:
            data: images `[n, H, W, C]`, labels `[n]` or `mixed_labels`, and maybe their weights
                `[n]` and positions in the epoch `[n]`
            samples: what the sum of losses is divided by, the number of samples of a global batch
            shares: the number of parts of all replicas, each of which takes as much of the
                penalties
        """
        images, labels, *emphasis = data
        image_weights = None
        if emphasis:
            image_weights = emphasis[0]
        with tf.GradientTape() as tape:
            logits = self._logits(images, training=True)
            losses, weighed = self.objective.losses(labels, logits, image_weights)
            loss = tf.reduce_sum(weighed) / tf.cast(samples, losses.dtype)
            loss = self.objective.penalized(loss, self.losses, shares)
            loss = self.optimizer.scale_loss(loss)
        self._observe(losses, labels, logits)
        for recorder in self.recorders:
            if isinstance(recorder, ImageRecorder):
                recorder.record(emphasis[1], labels, logits)
            else:
                recorder.record(emphasis[1], losses)
        return tape.gradient(loss, self.trainable_weights)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return what a step minimises, for a batch that all replicas have."""
        replicas = self.distribute_strategy.num_replicas_in_sync
        return self.objective.penalized(
            self.data_loss(y, y_pred),
            self.losses,
            replicas,
        )

    def data_loss(self, labels: Any, logits: Any) -> tf.Tensor:
        """Return the same without the penalties."""
        replicas = self.distribute_strategy.num_replicas_in_sync
        return self.objective.mean_loss(labels, logits) / replicas

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Loss and accuracy of a batch in inference mode."""
        images, labels = data
        logits = self._logits(images, training=False)
        self._observe(self.objective.loss(labels, logits), labels, logits)
        self.class_counts.update_state(labels, logits)
        return self._logs()

    def _logits(self, images: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Return logits; where there is no image one is made up, for oneDNN fails on none."""
        if self.distribute_strategy.num_replicas_in_sync * self.micro_batches == 1:
            return self(images, training=training)
        count = tf.shape(images)[0]
        num_made_up = tf.cast(count == 0, tf.int32)
        shape = [num_made_up, *images.shape[1:]]
        images = tf.concat([images, tf.zeros(shape, images.dtype)], axis=0)
        logits = self(images, training=training)
        return logits[:count]

    def _observe(self, losses: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor) -> None:
        self._loss.update_state(losses)
        if are_mixed(labels):
            own, partners, share = taken_apart(labels)
            self._accuracy.update_state(own, logits, share)
            self._accuracy.update_state(partners, logits, 1 - share)
        else:
            self._accuracy.update_state(labels, logits)

    def _logs(self) -> dict[str, Any]:
        """Return the metrics over the samples of all replicas.

        Keras takes the mean of the replicas' means, in which those of a smaller share weigh more.
        """
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return self.get_metrics_result()
        shares = []
        for metric in self.metrics:
            shares.append([tf.convert_to_tensor(metric.total), tf.convert_to_tensor(metric.count)])
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, shares)
        logs = {}
        for metric, (total, count) in zip(self.metrics, sums, strict=True):
            logs[metric.name] = tf.math.divide_no_nan(total, count)
        return logs

    def make_train_function(self, force: bool = False) -> Any:
        """Make Keras' function, which passes over steps that were trained before a stop."""
        if self.train_function is None or force:
            super().make_train_function(force)
            train = self.train_function

            def train_or_pass_over(iterator: Any) -> Any:
                return self.get_metrics_result() if self.passes_over_step else train(iterator)

            self.train_function = train_or_pass_over
        return self.train_function

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Do nothing: all is built; Keras would draw a batch, and fail on unequal shares."""


class Callbacks(keras.callbacks.CallbackList):
    """Keras' list of callbacks, silent during the steps that a resumed epoch passes over."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Pass the call on unless the step is passed over."""
        if not self.model.passes_over_step:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Pass the call on, or count the step that was passed over."""
        if self.model.passes_over_step:
            self.model.position.skip_step()
        else:
            super().on_train_batch_end(batch, logs)


def piece(values: tf.Tensor, part: int | tf.Tensor, parts: int) -> tf.Tensor:
    """Return one of `parts` consecutive parts along the first axis, as equal as can be."""
    if parts == 1:
        return values
    count = tf.shape(values)[0]
    return values[
        first_row(
            count,
            part,
            parts,
        ) : first_row(
            count,
            part + 1,
            parts,
        )
    ]


@contextmanager
def _after(gradients: Sequence[Any]) -> Iterator[None]:
    """Let a part wait for the one before: together they need the memory to be saved."""
    present = [gradient for gradient in gradients if gradient is not None]
    with tf.control_dependencies(present):
        yield


def _sums(total: list[Any], gradients: list[Any]) -> list[Any]:
    """Return the sums of gradients, None where a weight has none; nothing yet is an empty list."""
    if not total:
        return gradients
    sums: list[Any] = []
    for summed, gradient in zip(total, gradients, strict=True):
        if gradient is None:
            sums.append(None)
        else:
            sums.append(summed + gradient)
    return sums


def _part_of(batch: tf.Tensor, rows: tf.Tensor, part: int, parts: int) -> Part:
    """Return what layers must know of the rows that are a part of a replica's batch."""
    num_batch = tf.shape(batch, tf.int64)[0]
    num_rows = tf.shape(rows, tf.int64)[0]
    context = tf.distribute.get_replica_context()
    num_anywhere = num_rows
    # A batch that is not cut is never empty on all replicas.
    if parts > 1 and context is not None and context.num_replicas_in_sync > 1:
        num_anywhere = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(num_rows, tf.int32))
    is_any = (num_anywhere > 0) | (parts == 1)
    return Part(
        part,
        first_row(num_batch, part, parts),
        num_batch,
        num_rows,
        is_any,
    )


def _global_batch(labels: tf.Tensor) -> tuple[tf.Tensor, int]:
    """Return the samples in the global batch, and the number of replicas that share it."""
    context = tf.distribute.get_replica_context()
    count = tf.shape(labels)[0]
    if context is None or context.num_replicas_in_sync == 1:
        return count, 1
    return context.all_reduce(tf.distribute.ReduceOp.SUM, count), context.num_replicas_in_sync
