"""What is exported: the run's model for inference alone, with calibrated probabilities, and what describes it."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from epochal.app.data.preprocessing import Preprocessing
from epochal.models.fold_batch_norm import fold_batch_norm
from epochal.models.layers.convolution import Convolution

HALVES = ("float16", "bfloat16")
_KERNELS = (keras.layers.Conv2D, Convolution, keras.layers.SeparableConv2D, keras.layers.Dense)


@dataclass(frozen=True, kw_only=True)
class Servable:
    """A model as it leaves.

    `model` takes uint8 images `[N, S, S, C]` of the model's own size and gives two tensors: the input of its last
    layer, and logits `[N, classes]`. `card` says, in plain values, what the model is and how it came about.
    """

    model: Any
    preprocessing: Preprocessing
    temperature: float
    card: dict[str, Any]

    def answers(self, stored: tf.Tensor) -> dict[str, tf.Tensor]:
        """`probabilities` `[N, classes]` and `features` `[N, F]`, float32, of uint8 images as the run stores them."""
        features, logits = self.model(self.preprocessing.crop(stored), training=False)
        flat = tf.reshape(features, [tf.shape(logits)[0], features.shape[-1]])
        chances = tf.nn.softmax(tf.cast(logits, tf.float32) / self.temperature)
        return {"probabilities": chances, "features": tf.cast(flat, tf.float32)}

    def function(self) -> Any:
        """`answers` as one body that TensorFlow optimizes once, whoever calls it.

        Inlined into each of its callers it would be fused differently, which in bfloat16 moves probabilities by a
        hundredth.
        """
        size = self.preprocessing.stored_size
        channels = self.preprocessing.channels
        return tf.function(
            lambda stored: self.answers(stored),
            input_signature=[tf.TensorSpec([None, size, size, channels], tf.uint8)],
            autograph=False,
            experimental_attributes={"_noinline": True},
        )


def with_features(model: Any) -> Any:
    """A model of the zoo with the input of its last layer as a first output."""
    return keras.Model(
        model.input, [model.get_layer("logits").input, model.output], name=model.name
    )


def for_inference(model: Any) -> Any:
    """The model with batch norm folded into its convolutions, where all is float32.

    In mixed precision it is left as it is: folded kernels would be rounded otherwise than the run's.
    """
    return fold_batch_norm(model) if model.get_layer("logits").input.dtype == "float32" else model


def in_precision(servable: Servable, precision: str) -> Servable:
    """A copy whose convolutions and dense layers are stored, and computed, in float16 or bfloat16.

    The last layer stays in float32, as in training: bfloat16 would round a logit near 10 to steps of 1/16.
    """

    def clone(layer: Any) -> Any:
        kept = layer.name == "logits" or isinstance(layer, keras.layers.InputLayer)
        policy = precision if isinstance(layer, _KERNELS) else f"mixed_{precision}"
        return type(layer).from_config(
            layer.get_config() if kept else {**layer.get_config(), "dtype": policy}
        )

    copy = keras.models.clone_model(servable.model, clone_function=clone)
    copy.set_weights(servable.model.get_weights())
    return replace(servable, model=copy)
