"""Training in which the wait for a batch can be told from the step: Keras does both in one call."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from epochal.callbacks.parts.iteration_times import IterationTimes
from epochal.callbacks.parts.replacing import Replacement


class Fetching:
    """Makes the model of `callback` take each batch from the iterator before its training step.

    `times` is told of both. It sits on `model._make_function`, by which Keras and its subclasses
    make their training function, until released. Each function traces the step once, for the data
    set's own specification, as Keras does; `times` is told. Where Keras fetches the batches of
    several steps at once, or does not run on TensorFlow, it changes nothing and `is_separate` is
    False.
    """

    def __init__(self, callback: keras.callbacks.Callback, times: IterationTimes) -> None:
        self._model = callback.model
        self._times = times
        self._replacement: Replacement | None = None
        on_tensorflow = keras.backend.backend() == "tensorflow"
        self.is_separate = on_tensorflow and self._model.steps_per_execution == 1
        if self.is_separate:
            self._make_function = self._model._make_function
            self._replacement = Replacement(
                callback, self._model, "_make_function", self._make_separate, retrace=True
            )

    def release(self) -> None:
        """Leave the model as it was."""
        if self._replacement is not None:
            self._replacement.undo()

    def _make_separate(self, step: Callable[..., Any]) -> Callable[[Any], Any]:
        function = self._make_function(step)
        if step != self._model.train_step:
            return function

        @tf.autograph.experimental.do_not_convert
        def run_step(batch: Any) -> Any:
            return function(iter([batch]))

        compiled: Any = None

        def fetch_and_run(iterator: Any) -> Any:
            nonlocal compiled
            if not isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator):
                return function(iterator)
            self._times.switch("input")
            batch = iterator.get_next()
            self._times.switch("step")
            if self._model.run_eagerly:
                return run_step(batch)
            if compiled is None:
                self._times.retrace()
                compiled = tf.function(run_step, input_signature=[iterator.element_spec])
            return compiled(batch)

        return fetch_and_run
