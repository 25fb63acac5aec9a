"""Costs of the input pipeline: operations, decoding, memory, and what training waits for it.

    python benchmarks/data_cost.py operations [--blocks 7]
    python benchmarks/data_cost.py decoding FOLDER [--blocks 7]
    python benchmarks/data_cost.py memory FOLDER
    python benchmarks/data_cost.py waiting RUN

- operations: microseconds on a processor of each augmentation with pad, crop and flip.
- decoding: milliseconds on a processor of the parts of reading a photograph.
- memory: the peak of streaming a folder's files, and of ten times as many names of them.
- waiting: the share of its steps' time that a finished run waited for data.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from data_pipeline import (
    PHOTO_BATCH,
    PHOTOS,
    SMALL_BATCH,
    Files,
    Pixels,
    list_photos,
    photo_shape,
    training_batches_of,
)

OPERATIONS: dict[str, dict[str, Any]] = {
    "crop and flip": {},
    "resized crop": {"resized_crop": 0.25},
    "rotation": {"rotate": 5.0},
    "rotation, shift, shear, zoom": {"rotate": 5.0, "translate": 0.1, "shear": 5.0, "zoom": 0.1},
    "elastic": {"elastic": 34.0, "elastic_sigma": 4.0},
    "brightness, contrast, saturation": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
    "hue": {"hue": 0.1},
    "grey": {"grey": 0.1},
    "colours of principal components": {"pca_colour": 0.1},
    "blur": {"blur": 1.0},
    "noise": {"noise": 0.1},
    "erasing": {"erase": 0.5},
    "cutout": {"cutout": 0.5},
    "MixUp": {"mixup": 0.2},
    "CutMix": {"cutmix": 1.0},
}


def cost_operations(blocks: int) -> None:
    """Print the time of each augmentation, beside crop and flip alone."""
    print("| operation | µs an image at 32 pixels | at 224 pixels |")
    print("|---|---|---|")
    costs: dict[str, list[float]] = {name: [] for name in OPERATIONS}
    for side, count, batch in ((32, 2048, SMALL_BATCH), (224, 128, PHOTO_BATCH)):
        for name, seconds in time_operations(side, count, batch, blocks).items():
            costs[name].append(1e6 * seconds)
    for name, (small, large) in costs.items():
        print(f"| {name} | {small:.1f} | {large:.0f} |")


def time_operations(side: int, count: int, batch: int, blocks: int) -> dict[str, float]:
    """Return the seconds on a processor that an image takes: medians of interleaved epochs."""
    from epochal.app.data.preprocessing import ImageShape

    shape = ImageShape(channels=3, stored_size=side, image_size=side)
    pixels = Pixels(side, count)
    datasets = {}
    for name, augment in OPERATIONS.items():
        chosen = {"pad_crop": side // 8, "flip": "random", **augment}
        if "resized_crop" in augment:
            del chosen["pad_crop"]
        datasets[name] = training_batches_of(pixels, shape, chosen, batch).dataset()
    seconds: dict[str, list[float]] = {name: [] for name in datasets}
    for block in range(blocks + 1):
        for name, dataset in datasets.items():
            began = time.process_time()
            for _ in dataset:
                pass
            if block:  # the first one traces
                seconds[name].append((time.process_time() - began) / count)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def cost_decoding(folder: str, blocks: int) -> None:
    """Print the time on a processor of the parts of reading a photograph."""
    import tensorflow as tf

    from epochal.app.data.decoding import resize

    shape = photo_shape()
    store: Any = tf.function(shape.store, input_signature=[tf.TensorSpec([], tf.string)])
    names = list_photos(folder)[:100]
    encoded = tf.constant([Path(name).read_bytes() for name in names])
    sizes = tf.stack([tf.io.extract_jpeg_shape(file) for file in encoded])
    # The window of the middle that has 62 % of the area, the mean of `PHOTOS`.
    corner = tf.cast(tf.cast(sizes[:, :2], tf.float32) * 0.105, tf.int32)
    windows = tf.concat([corner, sizes[:, :2] - 2 * corner], axis=1)
    decoded = [tf.io.decode_jpeg(file, channels=3) for file in encoded]
    steps = {
        "header": lambda at: tf.io.extract_jpeg_shape(encoded[at]),
        "decode": lambda at: tf.io.decode_jpeg(encoded[at], channels=3),
        "decode at half the size": lambda at: tf.io.decode_jpeg(encoded[at], channels=3, ratio=2),
        "decode 62 % of the area": lambda at: tf.io.decode_and_crop_jpeg(
            encoded[at], windows[at], channels=3
        ),
        "scale to 256": lambda at: resize(decoded[at], shape.stored_size),
        "decode, orient and scale (epochal)": lambda at: store(encoded[at]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for block in range(blocks + 1):
        for name, step in steps.items():
            began = time.process_time()
            for at in range(len(names)):
                step(at)
            if block:  # the first one traces
                seconds[name].append((time.process_time() - began) / len(names))
    print("| step | ms a photograph |")
    print("|---|---|")
    for name, measured in seconds.items():
        print(f"| {name} | {1e3 * statistics.median(measured):.2f} |")


def measure_memory(folder: str) -> None:
    """Print the peak of a process that streams files, for one and ten times as many."""
    for times in (1, 10):
        command = [sys.executable, __file__, "peak", folder, "--times", str(times)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"{times} x the files: {done.stdout.strip()}", flush=True)


def print_peak(folder: str, times: int) -> None:
    """Stream 40 batches of a folder's files, named so many times, and print the peak."""
    shape = photo_shape()
    names = list_photos(folder) * times
    batches = training_batches_of(Files(names, shape), shape, PHOTOS, PHOTO_BATCH)
    for _ in zip(range(40), batches.dataset(), strict=False):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(names):,} files, peak {peak:,.0f} MiB after 40 batches of {PHOTO_BATCH}")


def print_waiting(run: str) -> None:
    """Print the share of the steps' time that a run waited for its input."""
    parts = json.loads((Path(run) / "timing.json").read_text())["parts"]
    share = parts["input"]["total"] / parts["iteration"]["total"]
    typical = parts["input"]["median"] / parts["iteration"]["median"]
    print(f"waiting for data: {share:.2%} of all steps' time, {typical:.2%} of a median step")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=["operations", "decoding", "memory", "peak", "waiting"])
    parser.add_argument("place", nargs="?", help="a folder of photographs, or of a run")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--times", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    if arguments.kind == "operations":
        cost_operations(arguments.blocks)
    elif arguments.place is None:
        parser.error(f"{arguments.kind} needs a folder")
    elif arguments.kind == "decoding":
        cost_decoding(arguments.place, arguments.blocks)
    elif arguments.kind == "memory":
        measure_memory(arguments.place)
    elif arguments.kind == "peak":
        print_peak(arguments.place, arguments.times)
    else:
        print_waiting(arguments.place)


if __name__ == "__main__":
    main()
