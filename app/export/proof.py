"""Run as a program in a fresh process: whether an exported model answers like the run it came from, and how fast.

Imports nothing of epochal: what holds here holds wherever the model is served. An exported model is whatever lies in
the folder: a SavedModel, `model.tflite` or `model.onnx`; each way in is a function from uint8 images to its answer.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

BATCH = 256
Answer = dict[str, np.ndarray]
Way = Callable[[np.ndarray], Answer]


def main(folder: str, evidence: str, tolerance: str, timed: str = "") -> None:
    """Prints, as JSON, how far the answers are from the expected ones, and the first image whose answer differs.

    Args:
        folder: the exported model.
        evidence: folder with images, labels, probabilities, features and classes, a npy file each.
        tolerance: of a probability, and of a feature relative to the largest.
        timed: batch sizes, comma-separated, to time the first way in with, which alone is asked then.
    """
    ways = opened(Path(folder))
    ways = dict([next(iter(ways.items()))]) if timed else ways
    known = {file.stem: np.load(file, mmap_mode="r") for file in Path(evidence).glob("*.npy")}
    verdict: dict[str, Any] = {
        "images": len(known["images"]),
        "ways": list(ways),
        "first_difference": None,
    }
    worst = 0.0
    hits = 0
    for name, ask in ways.items():
        for start in range(0, len(known["images"]), BATCH):
            chosen = {
                key: rows if key == "classes" else rows[start : start + BATCH]
                for key, rows in known.items()
            }
            answer = ask(chosen["images"])
            apart = difference(answer, chosen)
            worst = max(worst, float(apart.max()))
            if name == next(iter(ways)):
                hits += int((answer["probabilities"].argmax(1) == chosen["labels"]).sum())
            if not (apart <= float(tolerance)).all() and verdict["first_difference"] is None:
                first = start + int((~(apart <= float(tolerance))).argmax())
                verdict["first_difference"] = f"image {first} through {name}"
    verdict |= {"largest_difference": worst, "accuracy": hits / len(known["images"])}
    ask = next(iter(ways.values()))
    verdict["milliseconds"] = {
        size: clock(ask, known["images"], int(size)) for size in timed.split(",") if size
    }
    print(json.dumps(verdict))


def difference(answer: Answer, expected: Answer) -> np.ndarray:
    """How far each image's answer is from the expected one, float `[n]`; NaN where it is.

    A label stands for its expected probability, which must be that of its rank: of classes that are as likely as each
    other, either may be named.
    """
    chances = expected["probabilities"]
    classes = {str(name): i for i, name in enumerate(expected["classes"])}
    ranked = -np.sort(-chances, axis=1)
    apart = []
    for name, found in answer.items():
        if name == "probabilities":
            apart.append(np.abs(found - chances).max(axis=1))
        elif name == "scores":
            apart.append(np.abs(found - ranked[:, : found.shape[1]]).max(axis=1))
        elif name == "image":
            apart.append(
                np.abs(found - centre(expected["images"], found.shape[1]).astype(float)).max(
                    axis=(1, 2, 3)
                )
            )
        elif name == "features":
            scale = max(1.0, float(np.abs(expected["features"]).max()))
            apart.append(np.abs(found - expected["features"]).max(axis=1) / scale)
        else:
            places = np.array(
                [
                    [classes[label.decode()] for label in row]
                    for row in found.reshape(len(found), -1)
                ]
            )
            apart.append(
                np.abs(np.take_along_axis(chances, places, 1) - ranked[:, : places.shape[1]]).max(
                    axis=1
                )
            )
    return np.max(apart, axis=0)


def centre(images: np.ndarray, size: int) -> np.ndarray:
    """The central square of images `[N, S, S, C]`."""
    start = (images.shape[1] - size) // 2
    return images[:, start : start + size, start : start + size]


def clock(ask: Way, images: np.ndarray, size: int, seconds: float = 2.0) -> list[float]:
    """Median and 95th percentile of the milliseconds that a batch of so many images takes."""
    batch = np.resize(images, (size, *images.shape[1:]))
    taken = []
    began = time.perf_counter()
    for i in range(10_000):
        start = time.perf_counter()
        ask(batch)
        taken.append(1000 * (time.perf_counter() - start))
        if i > 20 and time.perf_counter() - began > seconds:
            break
    return [round(float(np.percentile(taken[3:], q)), 3) for q in (50, 95)]


def opened(folder: Path) -> dict[str, Way]:
    """Every way into an exported model, by name."""
    if (folder / "model.tflite").exists():
        return {"litert": partial(_litert, _interpreter(folder / "model.tflite"))}
    if (folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        return {
            "onnx": lambda images: {
                "probabilities": session.run(["probabilities"], {"image": images})[0]
            }
        }
    return _signatures(folder)


def _signatures(folder: Path) -> dict[str, Way]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))

    def files(images: np.ndarray) -> Any:
        return tf.stack([tf.io.encode_png(image) for image in images])

    def examples(images: np.ndarray) -> Any:
        lists = [
            tf.train.Feature(bytes_list=tf.train.BytesList(value=[png.numpy()]))
            for png in files(images)
        ]
        made = [
            tf.train.Example(features=tf.train.Features(feature={"image_bytes": one}))
            for one in lists
        ]
        return tf.constant([one.SerializeToString() for one in made])

    prepared: dict[str, Callable[[np.ndarray], Any]] = {
        "serving_default": tf.constant,
        "serving_float": partial(tf.cast, dtype=tf.float32),
        "serving_bytes": files,
        "classify": examples,
        "preprocess": files,
        "features": tf.constant,
    }

    def ask(name: str, images: np.ndarray) -> Answer:
        signature = loaded.signatures[name]
        (argument,) = signature.structured_input_signature[1]
        return {
            key: value.numpy()
            for key, value in signature(**{argument: prepared[name](images)}).items()
        }

    return {name: partial(ask, name) for name in prepared}


def _interpreter(file: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=len(os.sched_getaffinity(0)))
    interpreter.allocate_tensors()
    return interpreter


def _litert(interpreter: Any, images: np.ndarray) -> Answer:
    (image,) = interpreter.get_input_details()
    if list(image["shape"]) != list(images.shape):
        interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
    interpreter.set_tensor(image["index"], images)
    interpreter.invoke()
    (found,) = interpreter.get_output_details()
    return {"probabilities": interpreter.get_tensor(found["index"])}


if __name__ == "__main__":
    main(*sys.argv[1:])
