"""Inference models: networks without what only training needs, probabilities calibrated."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from epochal.app.data.preprocessing import Preprocessing
from epochal.app.evaluation.views import Views
from epochal.app.store.model_card import ModelCard
from epochal.models.fold_batch_norm import fold_batch_norm
from epochal.models.layers.convolution import Convolution

HALVES = ("float16", "bfloat16")
_KERNELS = (keras.layers.Conv2D, Convolution, keras.layers.SeparableConv2D, keras.layers.Dense)


@dataclass(frozen=True, kw_only=True)
class InferenceModel:
    """A model to be exported, or one whose answers an export must give.

    Attributes:
        network: takes uint8 images `[N, s, s, C]` of the network's own size and gives two tensors:
            the input of its last layer, and logits `[N, classes]`.
        preprocessing: of images and labels.
        views: the parts of a stored image that the network sees.
        temperature: by which logits are divided.
        card: tells what the model is and how it came about.
    """

    network: Any
    preprocessing: Preprocessing
    views: Views
    temperature: float
    card: ModelCard

    @property
    def input_spec(self) -> tf.TensorSpec:
        """Any number of stored images: uint8 `[N, S, S, C]`."""
        return tf.TensorSpec(
            [None, *self.preprocessing.stored_shape],
            tf.uint8,
            name="image",
        )

    def answer(self, stored: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `probabilities` `[N, classes]` and `features` `[N, F]` of stored images.

        Features are those of the central view.
        """
        features, logits = self.network(self.views.cut(stored), training=False)
        features = self.views.of_first(features)
        logits = self.views.average(logits)
        num_images = tf.shape(logits)[0]
        num_features = features.shape[-1]
        features = tf.reshape(features, [num_images, num_features])
        return {
            "probabilities": tf.nn.softmax(logits / self.temperature),
            "features": tf.cast(features, tf.float32),
        }

    def answer_probabilities(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the `probabilities` of stored images alone."""
        return {"probabilities": self.answer(image)["probabilities"]}

    def function(self) -> Any:
        """Return `answer` as one body that TensorFlow optimizes once, whoever calls it.

        Inlined into each of its callers it would be fused differently, which in bfloat16 moves
        probabilities by a hundredth.
        """
        return tf.function(
            lambda stored: self.answer(stored),
            input_signature=[tf.TensorSpec(self.input_spec.shape, tf.uint8)],
            autograph=False,
            experimental_attributes={"_noinline": True},
        )


def with_features(model: Any) -> Any:
    """Return a model of the zoo with the input of its last layer as a first output."""
    features = model.get_layer("logits").input
    return keras.Model(
        model.input,
        [features, model.output],
        name=model.name,
    )


def without_batch_norm(model: Any) -> Any:
    """Return the model with batch norm fused into its convolutions, where all is float32.

    In mixed precision it is left as it is: fused kernels would be rounded otherwise than the run's.
    """
    if model.get_layer("logits").input.dtype != "float32":
        return model
    return fold_batch_norm(model)


def in_precision(model: InferenceModel, precision: str) -> InferenceModel:
    """Return a copy whose convolutions and dense layers are kept and computed in a half precision.

    The last layer stays in float32, as in training: bfloat16 would round a logit near 10 to steps
    of 1/16.
    """

    def clone_layer(layer: Any) -> Any:
        config = layer.get_config()
        stays = layer.name == "logits" or isinstance(layer, keras.layers.InputLayer)
        if isinstance(layer, _KERNELS) and not stays:
            config["dtype"] = precision
        elif not stays:
            config["dtype"] = f"mixed_{precision}"
        return type(layer).from_config(config)

    network = keras.models.clone_model(model.network, clone_function=clone_layer)
    network.set_weights(model.network.get_weights())
    return replace(model, network=network)
