"""Sample requests of a SavedModel: one to try a server with, and those to warm it up with."""

import base64
import json
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.export.reference_answers import ReferenceAnswers
from epochal.app.store.export import Export

_SAMPLES = 8
# Images of a warm-up request: the second takes the loop over files another way, which is slow at
# first.
_WARM_UP_IMAGES = 2


def write_requests(export: Export, name: str, reference: ReferenceAnswers) -> None:
    """Add the sample request and the warm-up requests to a SavedModel.

    The sample is a request, as the predict API takes it, with eight test images; besides, where
    servers do not look, it has the `label` and `probabilities` of each as `expected`.

    Args:
        export: the SavedModel.
        name: by which it will be served.
        reference: images, and what it answers for them.
    """
    export.sample_request.parent.mkdir(exist_ok=True)
    images = reference.images[:_SAMPLES]
    pngs = [tf.io.encode_png(image).numpy() for image in images]
    sample = _make_sample(pngs, reference)
    text = json.dumps(sample) + "\n"
    export.sample_request.write_text(text, encoding="utf-8")
    few_pngs = pngs[:_WARM_UP_IMAGES]
    few_images = images[:_WARM_UP_IMAGES]
    logs = _make_warm_up(name, few_pngs, few_images)
    with tf.io.TFRecordWriter(str(export.warm_up_requests)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def _make_sample(pngs: list[bytes], reference: ReferenceAnswers) -> dict[str, Any]:
    instances = []
    expected = []
    for png, probabilities in zip(
        pngs,
        reference.probabilities,
        strict=False,
    ):
        encoded = base64.b64encode(png)
        instances.append({"b64": encoded.decode()})
        likeliest = int(probabilities.argmax())
        label = reference.classes[likeliest]
        expected.append({"label": label, "probabilities": probabilities.tolist()})
    return {"signature_name": "serving_bytes", "instances": instances, "expected": expected}


def _make_warm_up(name: str, pngs: list[bytes], images: np.ndarray) -> list[Any]:
    """Return a request to each signature, as a PredictionLog."""
    from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

    inputs: list[tuple[str, str, Any]] = [
        ("serving_default", "image", images),
        ("serving_float", "image", images.astype(np.float32)),
        ("serving_bytes", "image_bytes", pngs),
        ("preprocess", "image_bytes", pngs),
        ("features", "image", images),
    ]
    logs = []
    for signature, key, value in inputs:
        tensor = tf.make_tensor_proto(value)
        request = predict_pb2.PredictRequest()
        spec = request.model_spec
        spec.name = name
        spec.signature_name = signature
        request.inputs[key].CopyFrom(tensor)
        log = prediction_log_pb2.PredictLog(request=request)
        logs.append(prediction_log_pb2.PredictionLog(predict_log=log))
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = "classify"
    for png in pngs:
        example = request.input.example_list.examples.add()
        feature = example.features.feature["image_bytes"]
        feature.bytes_list.value.append(png)
    log = prediction_log_pb2.ClassifyLog(request=request)
    logs.append(prediction_log_pb2.PredictionLog(classify_log=log))
    return logs
