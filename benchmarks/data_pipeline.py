"""Speed of the input pipeline against its peers, on two cores.

    python benchmarks/data_pipeline.py small [--torch PYTHON] [--blocks 7]
    python benchmarks/data_pipeline.py photos FOLDER [--torch PYTHON] [--blocks 7]

- small: 32 pixels with crop, flip, colours, rotation and erasing, against the same as Keras' layers
  in `tf.data` and as torchvision's transforms v2 in a DataLoader of two workers.
- photos: JPEG files of a folder, at any depth, to 224 pixels by random resized crop and flip,
  against `tf.io.decode_and_crop_jpeg` alone, and against timm's loader with two workers.

PYTHON is one that has torch, torchvision and timm (see `data_torch.py`); without it there are no
rows of theirs. Each contender is a process on the same two cores that makes a block of batches when
it is told to, one after the other; the batches that were prefetched meanwhile do not count. Printed
are medians of the ratios of blocks that follow each other, of the wall's clock and of the time on
the processors, which is fair where other work goes on.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blocks import answer

BLOCK_SECONDS = 3.0
SMALL_BATCH = 128
PHOTO_BATCH = 32
HERE = Path(__file__).parent
INSTALL = (
    "no rows of PyTorch: make an environment that has it and give its python with --torch\n"
    "  python -m venv peers && peers/bin/pip install torch torchvision timm "
    "--index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple"
)
# The strengths are those of torchvision's and Keras' arguments, too.
SMALL = {
    "pad_crop": 4,
    "flip": "random",
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "rotate": 5.0,
    "erase": 0.5,
}
PHOTOS = {"resized_crop": 0.25, "flip": "random"}


class Contender:
    """A process that makes batches when told to."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            text=True,
        )
        self.batches = 2
        self.run_block()  # traces, fills caches
        self.batches = max(2, round(BLOCK_SECONDS / self.run_block()[0]))

    def run_block(self) -> tuple[float, float]:
        """Make the batches of one block.

        Returns:
            The seconds of a batch by the wall's clock, and on the processors.
        """
        print(self.batches, file=self._process.stdin, flush=True)
        assert self._process.stdout is not None
        wall, processor = self._process.stdout.readline().split()
        return float(wall) / self.batches, float(processor) / self.batches

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def compare(commands: dict[str, list[str]], batch: int, blocks: int) -> None:
    """Print images a second of each contender and how many times as fast the first one is."""
    contenders = {name: Contender(command) for name, command in commands.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(blocks):
        for name, contender in contenders.items():
            seconds[name].append(contender.run_block())
    for contender in contenders.values():
        contender.end()
    ours = next(iter(seconds))
    print(f"| | images/s | by the wall, {ours} / it | by the processor |")
    print("|---|---|---|---|")
    for name, measured in seconds.items():
        cells = [f"{batch / statistics.median(wall for wall, _ in measured):,.0f}"]
        for clock in (0, 1):
            ratios = []
            for our_times, its_times in zip(seconds[ours], measured, strict=True):
                ratios.append(its_times[clock] / our_times[clock])
            middle = statistics.median(ratios)
            cells.append(f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"| {name} | {' | '.join(cells)} |")


def training_batches_of(images: Any, shape: Any, augment: dict[str, Any], batch: int) -> Any:
    """Return a run's batches of images, which `Split` takes, all of one class but the first."""
    import numpy as np

    from epochal.app.config import Augment, Config
    from epochal.app.data.dataset import Dataset, Split
    from epochal.app.data.preprocessing import Preprocessing
    from epochal.app.training.run.setup import training_batches

    count = images.count
    labels = np.zeros(count, np.int32)
    labels[0] = 1
    split = Split(images.stored, np.arange(count), labels)
    dataset = Dataset(
        name="cifar10",
        train=split,
        validation=split,
        test=split,
        preprocessing=Preprocessing(
            classes=("a", "b"),
            channels=3,
            stored_size=shape.stored_size,
            image_size=shape.image_size,
            mean=(120.0, 120.0, 120.0),
            deviation=(60.0, 60.0, 60.0),
        ),
        flippable=True,
    )
    config = Config(dataset="cifar10", batch_size=batch, augment=Augment(**augment))
    batches, _ = training_batches(config, dataset)
    return batches


class Pixels:
    """Random images in memory, of which every second row is like the one above it."""

    def __init__(self, side: int, count: int) -> None:
        import numpy as np
        import tensorflow as tf

        from epochal.app.data.dataset import CachedImages

        self.count = count
        random = np.random.default_rng(0)
        self.array = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        self.stored = CachedImages(tf.constant(self.array))


class Files:
    """JPEG files that are read and decoded whenever they are asked for."""

    def __init__(self, names: list[str], shape: Any) -> None:
        import tensorflow as tf

        from epochal.app.data.dataset import StreamedImages

        self.count = len(names)
        table = tf.constant(names)
        self.stored = StreamedImages(lambda index: tf.io.read_file(table[index]), shape)


def list_photos(folder: str) -> list[str]:
    """Return the JPEG files at any depth of a folder."""
    names = []
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg"):
            names.append(str(path))
    if not names:
        sys.exit(f"{folder}: no JPEG files; give a folder of photographs")
    return names


def photo_shape() -> Any:
    """Return the sizes that a run gives to photographs of 224 pixels."""
    from epochal.app.data.preprocessing import ImageShape

    return ImageShape(channels=3, stored_size=256, image_size=224)


def small_shape() -> Any:
    """Return the sizes of images of 32 pixels."""
    from epochal.app.data.preprocessing import ImageShape

    return ImageShape(channels=3, stored_size=32, image_size=32)


def our_batches(kind: str, folder: str | None) -> Iterator[Any]:
    """Return the endless batches of a run."""
    if kind == "small":
        shape = small_shape()
        batches = training_batches_of(Pixels(32, 10_000), shape, SMALL, SMALL_BATCH)
    else:
        assert folder is not None
        shape = photo_shape()
        batches = training_batches_of(Files(list_photos(folder), shape), shape, PHOTOS, PHOTO_BATCH)
    return iter(batches.dataset().repeat())


def keras_batches() -> Iterator[Any]:
    """Return endless batches that Keras' layers augment as `SMALL` says."""
    import tensorflow as tf
    from keras import layers

    pixels = Pixels(32, 10_000)
    chain = [
        layers.RandomCrop(32, 32),
        layers.RandomFlip("horizontal"),
        layers.RandomBrightness(0.4, value_range=(0, 255)),
        layers.RandomContrast(0.4, value_range=(0, 255)),
        layers.RandomSaturation(0.4, value_range=(0, 255)),
        layers.RandomHue(0.1, value_range=(0, 255)),
        layers.RandomRotation(5 / 360, fill_mode="reflect"),
        layers.RandomErasing(0.5, scale=(0.02, 0.4), value_range=(0, 255)),
    ]

    def augment(images: Any) -> Any:
        changed = tf.pad(images, [[0, 0], [4, 4], [4, 4], [0, 0]], "REFLECT")
        changed = tf.cast(changed, tf.float32)
        for layer in chain:
            changed = layer(changed, training=True)
        return tf.cast(tf.clip_by_value(tf.round(changed), 0, 255), tf.uint8)

    dataset = tf.data.Dataset.from_tensor_slices(pixels.array)
    dataset = dataset.shuffle(10_000).repeat().batch(SMALL_BATCH)
    return iter(dataset.map(augment, tf.data.AUTOTUNE).prefetch(4))


def bare_batches(folder: str) -> Iterator[Any]:
    """Return endless runs of windows that are decoded out of JPEG files, and nothing else."""
    import tensorflow as tf

    names = list_photos(folder)
    shapes = []
    for name in names:
        shapes.append(tf.io.extract_jpeg_shape(tf.io.read_file(name)).numpy())
    whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])

    def window(name: Any, shape: Any) -> Any:
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            shape,
            whole,
            min_object_covered=0.0,
            area_range=(PHOTOS["resized_crop"], 1.0),
        )
        box = tf.concat([begin[:2], size[:2]], axis=0)
        image = tf.io.decode_and_crop_jpeg(tf.io.read_file(name), box, channels=3)
        return tf.shape(image)

    files = tf.data.Dataset.from_tensor_slices((names, tf.stack(shapes)))
    files = files.shuffle(len(names)).repeat()
    return iter(files.map(window, tf.data.AUTOTUNE).batch(PHOTO_BATCH).prefetch(4))


def compare_with_peers(arguments: argparse.Namespace) -> None:
    """Compare the kind of images that was asked for."""
    ours = [sys.executable, __file__, "--contender"]
    if arguments.kind == "small":
        commands = {
            "epochal": [*ours, "epochal", "small"],
            "Keras' layers in tf.data": [*ours, "keras", "small"],
        }
        peers = {"DataLoader, torchvision v2, 2 workers": ["small"]}
        batch = SMALL_BATCH
    else:
        folder = arguments.folder
        commands = {
            "epochal": [*ours, "epochal", "photos", folder],
            "tf.io.decode_and_crop_jpeg alone": [*ours, "bare", "photos", folder],
        }
        peers = {"timm, 2 workers": ["photos", folder]}
        batch = PHOTO_BATCH
    if arguments.torch is None:
        print(INSTALL, file=sys.stderr)
    else:
        for name, words in peers.items():
            commands[name] = [arguments.torch, str(HERE / "data_torch.py"), *words]
    compare(commands, batch, arguments.blocks)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=["small", "photos"])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    if (
        arguments.kind in ("photos", "decoding", "memory", "peak", "waiting")
        and arguments.folder is None
    ):
        parser.error(f"{arguments.kind} needs a folder")
    if arguments.contender == "epochal":
        answer(our_batches(arguments.kind, arguments.folder))
    elif arguments.contender == "keras":
        answer(keras_batches())
    elif arguments.contender == "bare":
        answer(bare_batches(arguments.folder))
    else:
        compare_with_peers(arguments)


if __name__ == "__main__":
    main()
