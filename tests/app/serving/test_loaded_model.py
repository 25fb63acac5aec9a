"""Loaded models: the recorded requests that a version answers before it is ready."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from epochal.app.errors import StorageError
from epochal.app.serving.loaded_model import load_model
from epochal.app.store.export import Export
from tests.support.wire_pairs import NAME, VERSION, save


@pytest.fixture
def version(tmp_path: Path) -> Path:
    save(tmp_path / NAME)
    return tmp_path / NAME / str(VERSION)


def record_request(version: Path, name: str) -> None:
    """Write a warm-up file with one predict request, whose input has `name`."""
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "serving_default"
    request.inputs[name].CopyFrom(tf.make_tensor_proto([1.0]))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    file = Export(version).warm_up_requests
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())


def test_a_version_that_answers_its_recorded_requests_is_loaded(version: Path) -> None:
    record_request(version, "x")
    model = load_model(version, trust=True)
    outputs = model.signatures["serving_default"]({"x": np.float32([4.0])})
    assert outputs["y"].tolist() == [4.0]


def test_a_version_that_does_not_answer_its_recorded_requests_is_refused(version: Path) -> None:
    record_request(version, "unknown")
    with pytest.raises(StorageError, match="cannot be served"):
        load_model(version, trust=True)
