"""Tiny data sets under the names of large ones, for tests that run what the documentation shows."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
SIZES = {"train": 200, "test": 40}


def write_photos(folder: Path, classes: tuple[str, ...] = ("daisy", "rose", "tulip")) -> None:
    """A folder of JPEG files, 20 for each class; the classes differ in brightness."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(1, 21):
            darkest = 80 * number
            pixels = generator.integers(darkest, darkest + 80, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:03d}.jpg")


def write_tfds(data_dir: Path) -> None:
    """MNIST and CIFAR-10 of random images, prepared as TFDS prepares them."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    for name, shape in SHAPES.items():
        generator = np.random.default_rng(0)
        splits = {}
        for split, size in SIZES.items():
            images = generator.integers(0, 256, (size, *shape), dtype=np.uint8)
            labels = np.arange(size) % 10
            splits[split] = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="9.9.9",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=shape),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            split_datasets=splits,
            data_dir=data_dir,
        )
        # What TFDS cannot be told here: which feature is the image, and which the class.
        info = data_dir / name / "9.9.9" / "dataset_info.json"
        values = json.loads(info.read_text())
        keys = [{"featureKey": "image"}, {"featureKey": "label"}]
        values["supervisedKeys"] = {"tuple": {"items": keys}}
        info.write_text(json.dumps(values))
