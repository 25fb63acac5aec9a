"""model.onnx: one input `image`, uint8 `[N, S, S, C]`, one output `probabilities`, float32."""

from pathlib import Path

import tensorflow as tf

from epochal.app.export.saved_model import describe
from epochal.app.export.servable import Servable
from epochal.app.process.tensorflow_import import quietly

FILE = "model.onnx"
_OPSET = 17


def write(servable: Servable, folder: Path) -> None:
    """Writes the model in float32."""
    with quietly():
        import tf2onnx

    size = servable.preprocessing.stored_size
    channels = servable.preprocessing.channels
    signature = [tf.TensorSpec([None, size, size, channels], tf.uint8, name="image")]
    answer = tf.function(
        lambda image: {"probabilities": servable.answers(image)["probabilities"]},
        input_signature=signature,
        autograph=False,
    )
    with quietly():
        tf2onnx.convert.from_function(
            answer, signature, opset=_OPSET, output_path=str(folder / FILE)
        )
    describe(servable, folder)
