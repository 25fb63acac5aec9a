"""What a server can be tried with: a request with its reply, and the requests that TensorFlow Serving warms up with."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.export.reference_answers import Evidence

FOLDER = "assets.extra"
WARM_UP = "tf_serving_warmup_requests"
GOLDEN = "golden.json"
_SAMPLES = 8
_WARMERS = 2  # images of a warm-up request: the second takes the loop over files another way, which is slow at first


def write(folder: Path, name: str, evidence: Evidence) -> None:
    """Adds golden.json and the warm-up file to a SavedModel.

    `golden.json` is a request, as the predict API takes it, with eight test images; besides, where servers do not look,
    it has the run's `label` and `probabilities` for each as `expected`.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    pictures = [tf.io.encode_png(image).numpy() for image in evidence.images[:_SAMPLES]]
    (folder / FOLDER / GOLDEN).write_text(
        json.dumps(_golden(pictures, evidence)) + "\n", encoding="utf-8"
    )
    with tf.io.TFRecordWriter(str(folder / FOLDER / WARM_UP)) as writer:
        for log in _warm_up(name, pictures[:_WARMERS], evidence.images[:_WARMERS]):
            writer.write(log.SerializeToString())


def _golden(pictures: list[bytes], evidence: Evidence) -> dict[str, Any]:
    instances = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
    chances = evidence.probabilities[: len(pictures)]
    expected = [
        {"label": evidence.classes[int(row.argmax())], "probabilities": row.tolist()}
        for row in chances
    ]
    return {"signature_name": "serving_bytes", "instances": instances, "expected": expected}


def _warm_up(name: str, pictures: list[bytes], images: np.ndarray) -> list[Any]:
    from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

    def predicted(signature: str, key: str, value: Any) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return prediction_log_pb2.PredictionLog(
            predict_log=prediction_log_pb2.PredictLog(request=request)
        )

    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name = name
    classify.model_spec.signature_name = "classify"
    for picture in pictures:
        example = classify.input.example_list.examples.add()
        example.features.feature["image_bytes"].bytes_list.value.append(picture)
    return [
        predicted("serving_default", "image", images),
        predicted("serving_float", "image", images.astype(np.float32)),
        predicted("serving_bytes", "image_bytes", pictures),
        predicted("preprocess", "image_bytes", pictures),
        predicted("features", "image", images),
        prediction_log_pb2.PredictionLog(
            classify_log=prediction_log_pb2.ClassifyLog(request=classify)
        ),
    ]
