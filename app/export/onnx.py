"""ONNX exports: one input `image`, uint8 `[N, S, S, C]`, one output `probabilities`, float32."""

import tensorflow as tf

from epochal.app.export.inference_model import InferenceModel
from epochal.app.process.tensorflow_import import quietly
from epochal.app.store.export import Export, write_description

_OPSET = 17


def write(model: InferenceModel, export: Export) -> None:
    """Write the model in float32, with its labels and card."""
    with quietly():
        import tf2onnx

    signature = [model.input_spec]
    function = tf.function(
        lambda image: model.answer_probabilities(image), input_signature=signature, autograph=False
    )
    with quietly():
        tf2onnx.convert.from_function(
            function, signature, opset=_OPSET, output_path=str(export.model_file)
        )
    write_description(
        export.folder,
        model.preprocessing.classes,
        model.card,
    )
