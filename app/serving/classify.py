"""Classify and regress requests of TensorFlow Serving: examples in, results out. No TensorFlow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from epochal.app.serving.tensor_errors import is_base64, quote, value_error
from epochal.app.serving.wire import all_finite, encode, to_bytes, to_encodable

_INT64 = np.iinfo(np.int64)

Feature = tuple[str, list[Any]]  # name of the tf.train.Feature's list, its values


def parse_examples(value: Mapping[str, Any], verb: str) -> list[dict[str, Feature]]:
    """Return the examples of a classify or regress request: features by name.

    Raises:
        BadRequest: in TensorFlow Serving's words.
    """
    if "examples" not in value:
        problem = f"When method is {verb}, key 'examples' is expected and was not found"
        raise value_error(value, problem)
    examples = value["examples"]
    context = value.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise value_error(examples, "Expecting 'examples' to be a list that holds some")
    if not isinstance(context, dict):
        raise value_error(context, "Expecting 'context' to be an object")
    for example in examples:
        if not isinstance(example, dict):
            raise value_error(example, "Is not object")
    parsed = []
    for example in examples:
        features = {}
        for name, feature in {**context, **example}.items():
            features[name] = _parse_feature(name, feature)
        parsed.append(features)
    return parsed


def _parse_feature(name: str, value: Any) -> Feature:
    values = value
    if not isinstance(value, list):
        values = [value]
    if all(isinstance(item, str) or is_base64(item) for item in values):
        return "bytes_list", to_bytes(values)
    types = set(map(type, values))
    if types <= {bool, int}:
        integers = list(map(int, values))
        if min(integers) < _INT64.min or max(integers) > _INT64.max:
            problem = f"feature: {quote(name)} has an integer beyond 64 bits"
            raise value_error(value, problem)
        return "int64_list", integers
    if types == {float}:
        return "float_list", values
    problem = f"feature: {quote(name)} has values of more than one type, or of none"
    raise value_error(value, problem)


def format_results(outputs: Mapping[str, np.ndarray], verb: str) -> bytes:
    """Return a classify reply, pairs of label and score in the model's order, or a regress one."""
    finite = all_finite(outputs)
    if verb == "regress":
        return encode({"results": outputs["outputs"].reshape(-1)}, finite=finite)
    labels = outputs.get("classes")
    scores = outputs.get("scores")
    if labels is None:
        labels = np.full(outputs["scores"].shape, b"", dtype=object)
    if scores is None:
        scores = np.zeros(labels.shape, np.float32)
    results = []
    for row_labels, row_scores in zip(
        to_encodable("classes", labels),
        scores,
        strict=True,
    ):
        pairs = zip(row_labels, row_scores, strict=True)
        results.append(list(map(list, pairs)))
    return encode({"results": results}, finite=finite)
