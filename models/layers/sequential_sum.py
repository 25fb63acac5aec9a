"""Sequential sum: its terms are computed one after the other, to hold no more than one needs."""

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="epochal")
class SumInTurn(keras.layers.Layer):
    """The sum of several models' outputs for the same input, computed one after the other.

    A graph would compute them side by side, or all first layers first, and hold the activations of
    all of them. Other backends than TensorFlow compile the sum and choose an order themselves.

    Args:
        terms: models from the input to tensors of one shape.
    """

    def __init__(self, terms: Sequence[keras.Model], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.terms = list(terms)

    def call(self, inputs: Any) -> Any:
        """Return the sum."""
        total = self.terms[0](inputs)
        for term in self.terms[1:]:
            total = total + term(_delay(inputs, total))
        return total

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of any term."""
        return self.terms[0].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        config["terms"] = [keras.saving.serialize_keras_object(term) for term in self.terms]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SumInTurn":
        """Return a layer made from what `get_config` returned."""
        terms = [keras.saving.deserialize_keras_object(term) for term in config["terms"]]
        return cls(**{**config, "terms": terms})


def _delay(values: Any, done: Any) -> Any:
    """Return the values, in a graph not before `done` is computed."""
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    with tf.control_dependencies([done]):
        return tf.identity(values)
