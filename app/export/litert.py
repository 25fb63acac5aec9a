"""model.tflite for LiteRT: one input `image`, uint8 `[N, S, S, C]`, one output `probabilities`, float32."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.export.saved_model import describe
from epochal.app.export.servable import Servable
from epochal.app.process.tensorflow_import import quietly

FILE = "model.tflite"


def write(servable: Servable, folder: Path, images: np.ndarray) -> None:
    """Writes the model in the precision of its card: float32, float16 (weights alone), or int8.

    int8 quantises weights and activations, convolutions too (`keras.Model.quantize` leaves those in float32), by the
    ranges that `images`, uint8 as stored, of the training split, give rise to.
    """
    size = servable.preprocessing.stored_size
    channels = servable.preprocessing.channels

    constant = replace(servable, model=_of_constants(servable.model))

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": constant.answers(image)["probabilities"]}

    image = tf.TensorSpec([None, size, size, channels], tf.uint8, name="image")
    with tempfile.TemporaryDirectory() as beside:
        function = tf.function(answer, input_signature=[image], autograph=False)
        tf.saved_model.save(tf.Module(), beside, {"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(beside)
        _choose(converter, servable.card["precision"], images)
        with quietly():
            model = converter.convert()
    (folder / FILE).write_bytes(model)
    describe(servable, folder)


def _of_constants(model: Any) -> Callable[..., Any]:
    """The model's function with its weights as constants: the converter cannot calibrate what reads variables."""
    kinds = (model.trainable_variables, model.non_trainable_variables)
    arrays = [[variable.numpy() for variable in variables] for variables in kinds]

    def call(images: tf.Tensor, training: bool) -> Any:
        weights = [[tf.constant(array) for array in one] for one in arrays]
        return model.stateless_call(*weights, images, training=training)[0]

    return call


def _choose(converter: Any, precision: str, images: np.ndarray) -> None:
    if precision == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    else:
        converter.representative_dataset = lambda: _each(images)


def _each(images: np.ndarray) -> Iterator[list[np.ndarray]]:
    yield from ([image[None]] for image in images)
