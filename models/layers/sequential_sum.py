"""A sum whose terms are computed one after the other, so that memory holds what one of them needs."""

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="epochal")
class SumInTurn(keras.layers.Layer):
    """The sum of what models make of the same input, each begun when the one before has ended.

    A graph would compute them side by side, or all first layers first, and hold what all of them need. Other backends
    than TensorFlow compile the sum and choose an order themselves.

    Args:
        terms: models from the input to tensors of one shape.
    """

    def __init__(self, terms: Sequence[keras.Model], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.terms = list(terms)

    def call(self, inputs: Any) -> Any:
        """Returns the sum."""
        total = self.terms[0](inputs)
        for term in self.terms[1:]:
            total = total + term(_after(total, inputs))
        return total

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of any term."""
        return self.terms[0].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        return {
            **config,
            "terms": [keras.saving.serialize_keras_object(term) for term in self.terms],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SumInTurn":
        """Makes the layer again."""
        terms = [keras.saving.deserialize_keras_object(term) for term in config["terms"]]
        return cls(**{**config, "terms": terms})


def _after(done: Any, values: Any) -> Any:
    """The values, not before `done` is known."""
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    with tf.control_dependencies([done]):
        return tf.identity(values)
