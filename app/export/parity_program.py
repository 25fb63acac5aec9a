"""Parity, as a program: whether an exported model answers like its run, and how fast.

Imports nothing of epochal: what holds here holds wherever the model is served. An exported model is
the folder of a SavedModel, or a file of LiteRT or ONNX. Each way to ask it, such as a signature, is
a function from stored images, uint8 `[n, S, S, C]`, to its answer by the names of the outputs.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

BATCH = 256
_LEAST_CALLS = 20  # that are timed
_WARM_UP_CALLS = 3  # that do not count
Answer = dict[str, np.ndarray]
Ask = Callable[[np.ndarray], Answer]


@dataclass(kw_only=True)
class Parity:
    """Result of the comparison.

    Attributes:
        images: their number.
        ways: names of the ways in which the model was asked.
        first_difference: the first image and way whose answer is farther off than the tolerance.
        largest_difference: of any answer.
        accuracy: of the first way, over all images.
        milliseconds: by batch size, the median and the 95th percentile of the first way's calls.
    """

    images: int
    ways: list[str]
    first_difference: str | None = None
    largest_difference: float = 0.0
    accuracy: float = 0.0
    milliseconds: dict[str, list[float]] = field(default_factory=dict)


def main(model: str, reference: str, tolerance: str, timed: str = "") -> None:
    """Compare a model's answers with the reference and print a `Parity` as JSON.

    Args:
        model: folder or file of the exported model.
        reference: folder with images, labels, probabilities, features and classes, a npy file each.
        tolerance: of a probability, and of a feature relative to the largest.
        timed: batch sizes, comma-separated, to time the first way with, which alone is asked then.
    """
    ways = open_model(Path(model))
    first_way = next(iter(ways))
    if timed:
        ways = {first_way: ways[first_way]}
    expected = {}
    for file in Path(reference).glob("*.npy"):
        expected[file.stem] = np.load(file, mmap_mode="r")
    parity = Parity(images=len(expected["images"]), ways=list(ways))
    hits = 0
    for name, ask in ways.items():
        for start in range(0, parity.images, BATCH):
            batch = slice_reference(expected, start, start + BATCH)
            answer = ask(batch["images"])
            distances = difference(answer, batch)
            largest = float(distances.max())
            parity.largest_difference = max(parity.largest_difference, largest)
            # NaN is no distance within the tolerance.
            is_wrong = ~(distances <= float(tolerance))
            if is_wrong.any() and parity.first_difference is None:
                image = start + int(is_wrong.argmax())
                parity.first_difference = f"image {image} through {name}"
            if name == first_way:
                predicted = answer["probabilities"].argmax(1)
                hits += int((predicted == batch["labels"]).sum())
    parity.accuracy = hits / parity.images
    for size in timed.split(","):
        if size:
            parity.milliseconds[size] = clock(
                ways[first_way],
                expected["images"],
                int(size),
            )
    print(json.dumps(asdict(parity)))


def slice_reference(reference: Answer, start: int, end: int) -> Answer:
    """Return the reference for the images from `start` to before `end`."""
    batch = {}
    for name, values in reference.items():
        batch[name] = values if name == "classes" else values[start:end]
    return batch


def difference(answer: Answer, expected: Answer) -> np.ndarray:
    """Return how far each image's answer is from the expected one, float `[n]`; NaN where it is.

    A label stands for its expected probability, which must be that of its rank: of classes that are
    as likely as each other, either may be named.
    """
    probabilities = expected["probabilities"]
    ranked = -np.sort(-probabilities, axis=1)
    distances = []
    for name, output in answer.items():
        if name == "probabilities":
            distance = _largest_gap(output, probabilities)
        elif name == "scores":
            num_ranks = output.shape[1]
            distance = _largest_gap(output, ranked[:, :num_ranks])
        elif name == "image":
            seen = centre(expected["images"], output.shape[1])
            distance = _largest_gap(output, seen.astype(float))
        elif name == "features":
            features = expected["features"]
            scale = max(1.0, float(np.abs(features).max()))
            distance = _largest_gap(output, features) / scale
        else:
            labels = output.reshape(len(output), -1)
            places = _places_of(labels, expected["classes"])
            of_labels = np.take_along_axis(probabilities, places, 1)
            num_ranks = places.shape[1]
            distance = _largest_gap(of_labels, ranked[:, :num_ranks])
        distances.append(distance)
    return np.max(distances, axis=0)


def _largest_gap(output: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return each row's largest difference, float `[n]`, from what was expected."""
    gaps = np.abs(output - expected)
    return gaps.reshape(len(gaps), -1).max(axis=1)


def _places_of(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the places in `classes` of labels, bytes `[n, k]`."""
    place_of = {}
    for place, name in enumerate(classes):
        place_of[str(name)] = place
    places = []
    for row in labels.tolist():
        places.append([place_of[label.decode()] for label in row])
    return np.array(places)


def centre(images: np.ndarray, size: int) -> np.ndarray:
    """Return the central square of images `[N, S, S, C]`."""
    start = (images.shape[1] - size) // 2
    end = start + size
    return images[:, start:end, start:end]


def clock(ask: Ask, images: np.ndarray, size: int, seconds: float = 2.0) -> list[float]:
    """Return median and 95th percentile of the milliseconds that a batch of `size` images takes."""
    shape = (size, *images.shape[1:])
    batch = np.resize(images, shape)
    milliseconds = []
    began = time.perf_counter()
    for _ in range(10_000):
        start = time.perf_counter()
        ask(batch)
        end = time.perf_counter()
        milliseconds.append(1000 * (end - start))
        if len(milliseconds) > _LEAST_CALLS + 1 and end - began > seconds:
            break
    counted = milliseconds[_WARM_UP_CALLS:]
    median, late = np.percentile(counted, [50, 95])
    return [round(float(median), 3), round(float(late), 3)]


def open_model(path: Path) -> dict[str, Ask]:
    """Load an exported model and return every way to ask it, by name."""
    if path.suffix == ".tflite":
        return {"litert": _open_litert(path)}
    if path.suffix == ".onnx":
        return {"onnx": _open_onnx(path)}
    return _open_saved_model(path)


def _open_litert(file: Path) -> Ask:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=len(os.sched_getaffinity(0)))
    interpreter.allocate_tensors()

    def ask(images: np.ndarray) -> Answer:
        (image,) = interpreter.get_input_details()
        place = image["index"]
        if list(image["shape"]) != list(images.shape):
            interpreter.resize_tensor_input(place, images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(place, images)
        interpreter.invoke()
        (output,) = interpreter.get_output_details()
        return {"probabilities": interpreter.get_tensor(output["index"])}

    return ask


def _open_onnx(file: Path) -> Ask:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def ask(images: np.ndarray) -> Answer:
        (probabilities,) = session.run(["probabilities"], {"image": images})
        return {"probabilities": probabilities}

    return ask


def _open_saved_model(folder: Path) -> dict[str, Ask]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))

    def encode_files(images: np.ndarray) -> Any:
        return tf.stack([tf.io.encode_png(image) for image in images])

    def encode_examples(images: np.ndarray) -> Any:
        serialized = []
        for png in encode_files(images):
            example = tf.train.Example()
            feature = example.features.feature["image_bytes"]
            feature.bytes_list.value.append(png.numpy())
            serialized.append(example.SerializeToString())
        return tf.constant(serialized)

    encoders: dict[str, Callable[[np.ndarray], Any]] = {
        "serving_default": tf.constant,
        "serving_float": partial(tf.cast, dtype=tf.float32),
        "serving_bytes": encode_files,
        "classify": encode_examples,
        "preprocess": encode_files,
        "features": tf.constant,
    }

    def ask(name: str, images: np.ndarray) -> Answer:
        signature = loaded.signatures[name]
        (argument,) = signature.structured_input_signature[1]
        outputs = signature(**{argument: encoders[name](images)})
        return {key: value.numpy() for key, value in outputs.items()}

    return {name: partial(ask, name) for name in encoders}


if __name__ == "__main__":
    main(*sys.argv[1:])
