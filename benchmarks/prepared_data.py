"""Prepared data: streaming rates and sizes of photographs as JPEG, as PNG and as raw pixels.

    python benchmarks/prepared_data.py [IMAGES] [ROUNDS]

Crops of scikit-learn's two photographs are written as JPEG files of 500 x 375 pixels, and prepared
for 224 (256 stored) with `epochal data prepare`'s function. What it stores is written as PNG files,
too. Each of the three is then streamed in random order, in batches of 64, through the class that
training reads it with, a round after the other; printed are the medians of images a second, what
they are of JPEG's rate, and the bytes on disk. The processor's time is taken: other work on the
machine does not count.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from epochal.app.config import Config, Data
from epochal.app.data.dataset import Images, StreamedImages
from epochal.app.data.load import SOURCES
from epochal.app.data.prepare import prepare

BATCH = 64
STREAMED = Data(cache_gib=0.0)


def main(count: int, rounds: int) -> None:
    """Print a line for each form."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder / "jpeg", count)
        config = Config(dataset=str(folder / "jpeg"), image_size=224, data=STREAMED)
        prepare(config, folder / "raw", report=lambda progress: None)
        source = SOURCES["folder"](config)
        raw = SOURCES["prepared"](Config(dataset=str(folder / "raw"), data=STREAMED)).splits["all"]
        pngs = write_pngs(folder / "png", raw.read().numpy())
        png = StreamedImages(lambda index: tf.io.read_file(pngs[index]), source.shape)
        forms = {"jpeg": source.splits["all"].images, "png": png, "raw": raw.images}
        rates: dict[str, list[float]] = {form: [] for form in forms}
        for number in range(rounds + 1):
            for form, images in forms.items():
                rate = measure(images, count, seed=number)
                if number:  # the first warms up
                    rates[form].append(rate)
        for form, values in rates.items():
            files = [path for path in (folder / form).rglob("*") if path.is_file()]
            num_bytes = sum(path.stat().st_size for path in files)
            rate = np.median(values)
            print(
                f"{form:5} {rate:8,.0f} images/s  {rate / np.median(rates['jpeg']):6.1f} x  "
                f"{num_bytes / count / 1000:6.1f} kB an image"
            )


def write_photographs(folder: Path, count: int) -> None:
    """Write JPEG files of random crops, in two classes."""
    random = np.random.default_rng(0)
    for number, photograph in enumerate(load_sample_images().images):
        (folder / str(number)).mkdir(parents=True)
        for i in range(count // 2):
            top = random.integers(0, photograph.shape[0] - 375 + 1)
            left = random.integers(0, photograph.shape[1] - 500 + 1)
            crop = photograph[top : top + 375, left : left + 500]
            Image.fromarray(crop).save(folder / str(number) / f"{i:05}.jpg", quality=90)


def write_pngs(folder: Path, images: np.ndarray) -> tf.Tensor:
    """Write images as PNG files, and return their paths."""
    folder.mkdir()
    paths = []
    for number, image in enumerate(images):
        paths.append(str(folder / f"{number:05}.png"))
        Image.fromarray(image).save(paths[-1])
    return tf.constant(paths)


def measure(images: Images, count: int, seed: int) -> float:
    """Return images a second of processor time, of one pass in random order."""
    order = np.random.default_rng(seed).permutation(count)
    batches = tf.data.Dataset.from_tensor_slices(order).batch(BATCH).map(images.read)
    start = time.process_time()
    for batch in batches:
        assert batch.shape[-1] == 3
    return count / (time.process_time() - start)


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 400,
        int(sys.argv[2]) if len(sys.argv) > 2 else 3,
    )
