"""Run as a program in a fresh process: whether a SavedModel answers like the run it came from.

Imports nothing of epochal: what holds here holds wherever the SavedModel is served.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

TOLERANCE = 1e-5
BATCH = 256


def main(folder: str, evidence: str) -> None:
    """Prints, as JSON, the images compared, the largest difference, and the first image whose answer differs."""
    loaded = tf.saved_model.load(folder)
    with np.load(evidence, allow_pickle=False) as archive:
        images, expected, classes = archive["images"], archive["probabilities"], archive["classes"]
    verdict = {"images": len(images), "largest_difference": 0.0, "first_difference": None}
    for name, prepare in (("serving_default", tf.constant), ("serving_bytes", _encoded)):
        signature = loaded.signatures[name]
        (argument,) = signature.structured_input_signature[1]
        for start in range(0, len(images), BATCH):
            chosen = slice(start, start + BATCH)
            answer = signature(**{argument: prepare(images[chosen])})
            _compare(verdict, name, start, (answer, expected[chosen], classes))
    print(json.dumps(verdict))


def _encoded(images: np.ndarray) -> tf.Tensor:
    return tf.stack([tf.io.encode_png(image) for image in images])


def _compare(verdict: dict, name: str, start: int, pair: tuple) -> None:
    answer, expected, classes = pair
    difference = np.abs(answer["probabilities"].numpy() - expected).max(axis=1)
    labels = np.char.decode(answer["label"].numpy().astype("S"), "utf-8")
    wrong = (labels != classes[expected.argmax(axis=1)]) | ~(difference <= TOLERANCE)
    verdict["largest_difference"] = max(verdict["largest_difference"], float(difference.max()))
    if wrong.any() and verdict["first_difference"] is None:
        verdict["first_difference"] = f"image {start + int(wrong.argmax())} through {name}"


if __name__ == "__main__":
    main(*sys.argv[1:])
