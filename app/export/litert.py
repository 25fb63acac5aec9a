"""LiteRT exports: one input `image`, uint8 `[N, S, S, C]`, one output `probabilities`, float32."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.export.inference_model import InferenceModel
from epochal.app.process.tensorflow_import import quietly
from epochal.app.store.export import Export, write_description


def write(model: InferenceModel, export: Export, images: np.ndarray) -> None:
    """Write the model in the precision of its card: float32, float16 (weights alone) or int8.

    int8 quantises weights and activations, convolutions too (`keras.Model.quantize` leaves those in
    float32), by the ranges that `images`, stored images of the training split, give rise to.
    """
    constant = replace(model, network=_with_constants(model.network))
    function = tf.function(
        lambda image: constant.answer_probabilities(image),
        input_signature=[model.input_spec],
        autograph=False,
    )
    with tempfile.TemporaryDirectory() as temporary:
        signatures = {"serving_default": function}
        tf.saved_model.save(tf.Module(), temporary, signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(temporary)
        _set_precision(converter, model.card.precision, images)
        with quietly():
            content = converter.convert()
    export.model_file.write_bytes(content)
    write_description(
        export.folder,
        model.preprocessing.classes,
        model.card,
    )


def _with_constants(network: Any) -> Callable[..., Any]:
    """Return the network's function with its weights as constants.

    The converter cannot calibrate what reads variables.
    """
    trainable = [variable.numpy() for variable in network.trainable_variables]
    non_trainable = [variable.numpy() for variable in network.non_trainable_variables]

    def call(images: tf.Tensor, training: bool) -> Any:
        outputs, _ = network.stateless_call(
            [tf.constant(array) for array in trainable],
            [tf.constant(array) for array in non_trainable],
            images,
            training=training,
        )
        return outputs

    return call


def _set_precision(converter: Any, precision: str, images: np.ndarray) -> None:
    if precision == "float32":
        return

    def representative_batches() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image[None]]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    else:
        converter.representative_dataset = representative_batches
