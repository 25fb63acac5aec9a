"""Fine-tuning against training from scratch: python -m benchmarks.finetuning WEIGHTS FOLDER N ...

Folders of N photographs of each class of CIFAR-10 to train on, a fifth of that to validate, and
1,000 test images; on each, `epochal finetune` at 96 pixels from EfficientNet-Lite0's weights, and
`epochal train` at the images' own 32.
"""

import os
import sys
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from epochal.app.commands.main import main as epochal

_TEST_IMAGES = 1000
_VALIDATED_FROM = 1000  # place in a class behind all that are trained on


def write_folder(root: Path, num_images: int) -> None:
    """Write train, val and test folders with so many training images a class."""
    names = tfds.builder("cifar10").info.features["label"].names
    train = tfds.load("cifar10", split="train", batch_size=-1)
    test = tfds.load("cifar10", split="test", batch_size=-1)
    images = train["image"].numpy()
    labels = train["label"].numpy()
    random = np.random.default_rng(0)
    for label, name in enumerate(names):
        places = random.permutation(np.flatnonzero(labels == label))
        num_validated = max(5, num_images // 5)
        validated = places[_VALIDATED_FROM : _VALIDATED_FROM + num_validated]
        for split, chosen in (("train", places[:num_images]), ("val", validated)):
            _write(root / split / name, images, chosen)
        is_test = test["label"].numpy()[:_TEST_IMAGES] == label
        _write(root / "test" / name, test["image"].numpy(), np.flatnonzero(is_test))


def _write(folder: Path, images: np.ndarray, places: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for place in places:
        Image.fromarray(images[place]).save(folder / f"{place}.png")


def main() -> None:
    """Make each folder, and train on it in both ways."""
    weights = str(Path(sys.argv[1]).absolute())
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for count in sys.argv[3:]:
        root = Path(f"cifar10-{count}")
        write_folder(root, int(count))
        place = f"./{root}"
        epochal(["finetune", place, "--image-size", "96", "--weights", weights])
        epochal(["train", "--dataset", place])


if __name__ == "__main__":
    main()
