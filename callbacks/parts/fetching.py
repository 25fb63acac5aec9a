"""Training in which the wait for a batch can be told from the step: Keras does both in one call."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from epochal.callbacks.parts.iterations import Iterations


class Fetching:
    """Makes `model` take each batch from the iterator before its training step, and tells a stopwatch so.

    It sits on `model._make_function`, by which Keras and its subclasses make their training function, until released.
    Each function traces the step once, for the data set's own specification, as Keras does; the watch is told. Where
    Keras fetches the batches of several steps at once, or does not run on TensorFlow, it changes nothing and `apart` is
    False.
    """

    def __init__(self, model: Any, watch: Iterations) -> None:
        self._model = model
        self._watch = watch
        self.apart = keras.backend.backend() == "tensorflow" and model.steps_per_execution == 1
        if self.apart:
            self._make = model._make_function
            model._make_function = self._make_apart
            model.make_train_function(force=True)  # fit has just made one

    def release(self) -> None:
        """Leaves the model as it was."""
        if vars(self._model).get("_make_function") == self._make_apart:
            del self._model._make_function
            self._model.train_function = None

    def _make_apart(self, step: Callable[..., Any]) -> Callable[[Any], Any]:
        function = self._make(step)
        model = self._model
        if step != model.train_step:
            return function
        compiled: Any = None

        def apart(iterator: Any) -> Any:
            nonlocal compiled
            if not isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator):
                return function(iterator)
            self._watch.switch("input")
            batch = iterator.get_next()
            self._watch.switch("step")
            if model.run_eagerly:
                return function(_only(batch))
            if compiled is None:
                self._watch.retrace()
                one = tf.autograph.experimental.do_not_convert(lambda batch: function(_only(batch)))
                compiled = tf.function(one, input_signature=[iterator.element_spec])
            return compiled(batch)

        return apart


def _only(batch: Any) -> Iterator[Any]:
    return iter([batch])
