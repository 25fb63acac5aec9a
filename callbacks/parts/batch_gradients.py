"""The gradient of a model's loss on one batch, taken without leaving a trace in the model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from epochal.callbacks.parts.gradients import dense
from epochal.callbacks.parts.replacing import replaced


class BatchGradients:
    """Computes the gradient of `model`'s loss on a fixed batch as often as it is called.

    Neither weights, statistics, metrics nor random state are changed. On several replicas each gets
    the whole batch.

    Args:
        model: compiled and built.
        batch: `(x, y)` as the model takes them.
        training: forward as in training (statistics of the batch, dropout) instead of inference.
        penalties: with those of the weights, such as coupled weight decay, added to the loss of the
            data.
        loss: of `y` and the model's answer, in place of `compute_loss`: a scalar, divided by the
            number of replicas.
    """

    def __init__(
        self,
        model: Any,
        batch: tuple[Any, Any],
        *,
        training: bool,
        penalties: bool,
        loss: Callable[[Any, Any], tf.Tensor] | None = None,
    ) -> None:
        self._model = model
        self._batch = batch
        self._training = training
        self._penalties = penalties
        self._loss = loss
        # By the ids of the variables that are trained, which Freezing changes.
        self._functions: dict[tuple[int, ...], Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Return the gradients by the path of their weight, without loss scaling.

        Weights without one are left out.
        """
        with state_preserved(self._model):
            trained = tuple(id(variable) for variable in self._model.trainable_variables)
            if trained not in self._functions:
                # Traced here: a call that traces makes TensorFlow warn of many, which thawing
                # layers ask for.
                function = tf.function(self._sum_over_replicas).get_concrete_function()
                self._functions[trained] = function
            return self._functions[trained]()

    def _sum_over_replicas(self) -> dict[str, tf.Tensor]:
        without = []
        if not self._penalties:
            for variable in self._model.trainable_variables:
                without.append((variable, "regularizer", None))
        # Keras divides the loss by the number of replicas, each of which gets the whole batch here.
        strategy = self._model.distribute_strategy
        # Out here: each replica is traced in a thread of its own, and would put back what another
        # had taken off.
        with replaced(without):
            return strategy.reduce(
                "SUM",
                strategy.run(self._loss_gradients),
                axis=None,
            )

    def _loss_gradients(self) -> dict[str, tf.Tensor]:
        model = self._model
        training = self._training
        x, y = (tf.nest.map_structure(tf.convert_to_tensor, part) for part in self._batch)
        scale = model.optimizer.scale_loss(tf.ones(()))  # else float16 gradients underflow
        with tf.GradientTape() as tape:
            y_pred = model(x, training=training)
            if self._loss is None:
                loss = model.compute_loss(
                    x=x,
                    y=y,
                    y_pred=y_pred,
                    training=training,
                )
            else:
                loss = self._loss(y, y_pred)
            loss = loss * scale
        gradients = tape.gradient(loss, model.trainable_variables)
        result = {}
        for variable, gradient in zip(
            model.trainable_variables,
            gradients,
            strict=True,
        ):
            if gradient is not None:
                result[variable.path] = dense(gradient) / scale
        return result


@contextmanager
def state_preserved(model: Any) -> Iterator[None]:
    """Put statistics, random state and metrics back as they were before the model ran within it."""
    # compute_loss moves the trackers of models with several outputs, and a layer may count its
    # calls.
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    before = [variable.numpy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
