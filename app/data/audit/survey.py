"""Surveys: every image of a data set looked at once, whatever its source, and every bad file."""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from epochal.app.config import Config
from epochal.app.data.audit.alignment import SIDE
from epochal.app.data.audit.together import shrink
from epochal.app.data.availability import source_of
from epochal.app.data.dataset import RawDataset, Split, StreamedImages, without_tuning
from epochal.app.data.decoding import decode
from epochal.app.data.file_inspection import BadFile, describe_damage, examine_files
from epochal.app.data.load import SOURCES, Reader
from epochal.app.data.same_files import digest_of
from epochal.app.data.sources.folder_layout import ALL, read_layout

_AT_A_TIME = 256  # images of a source without files
_READ_SIZE = 32  # pixels; a source must scale to some size, but its bytes are looked at

# Told how many images of how many have been looked at.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Look:
    """One image: its size in pixels, mode of its file, digests of bytes and pixels, small picture.

    `bytes_digest` is empty for images that have no file; `picture` is uint8 `[32, 32]`.
    """

    height: int
    width: int
    mode: str
    bytes_digest: str
    pixels_digest: str
    picture: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Every usable image of a data set, and every unusable one.

    Attributes:
        classes: names, in the order of the labels; of a folder also those without images.
        splits: names of the source's splits.
        names: of the images.
        split: place in `splits` of each image, int `[N]`.
        index: of each image among the usable ones of its split, int `[N]`: its place in the store.
        labels: int `[N]`.
        looks: of the images.
        bad: files that cannot be used.
        read: returns the pixels of the image at a place, uint8 `[H, W, 1 or 3]`.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    names: tuple[str, ...]
    split: np.ndarray
    index: np.ndarray
    labels: np.ndarray
    looks: tuple[Look, ...]
    bad: tuple[BadFile, ...]
    read: Callable[[int], np.ndarray]

    @property
    def pictures(self) -> np.ndarray:
        """Small grey pictures of the images, uint8 `[N, 32, 32]`."""
        if not self.looks:
            return np.zeros((0, SIDE, SIDE), np.uint8)
        return np.stack([look.picture for look in self.looks])


def survey(
    config: Config,
    progress: Progress = lambda done, count: None,
    *,
    sources: Mapping[str, Reader] = SOURCES,
) -> Survey:
    """Look at every image of the data set that a configuration names.

    Raises:
        UsageError: it cannot be found, or is laid out so that its images cannot be told.
    """
    source = source_of(config.dataset)
    if source == "folder":
        return _survey_folder(config, progress)
    size = config.image_size
    if size is None and source not in ("digits", "prepared"):
        size = _READ_SIZE
    data = replace(config.data, cache_gib=0.0, skip_bad=True)
    raw = sources[source](replace(config, data=data, image_size=size))
    return _survey_splits(raw, progress)


def _survey_folder(config: Config, progress: Progress) -> Survey:
    root = Path(os.path.expanduser(config.dataset))
    content = read_layout(root, nested=config.data.nested, must_train=False, may_be_empty=True)
    layout = content.layout
    first = layout.get(ALL) or layout.get("train") or {}
    classes = list(first)
    entries = []
    for split, by_class in layout.items():
        classes += [name for name in by_class if name not in classes]
        for name in classes:
            for path in by_class.get(name, ()):
                entries.append((path, split, classes.index(name)))
    paths = [path for path, _, _ in entries]
    builder = _Builder(tuple(layout), bad=list(content.strays))
    beginning = os.path.join(root, "")
    for done, result in enumerate(examine_files(paths, look_at)):
        path, split, label = entries[done]
        if isinstance(result, BadFile):
            builder.bad.append(result)
        else:
            builder.add(path.removeprefix(beginning), split, label, result)
        progress(done + 1, len(paths))

    def read(place: int) -> np.ndarray:
        content = (root / builder.name_of(place)).read_bytes()
        return decode(tf.constant(content), 3).numpy()

    return builder.survey(tuple(classes), read)


def _survey_splits(raw: RawDataset, progress: Progress) -> Survey:
    bad = [BadFile(path, reason) for path, reason in raw.skipped]
    builder = _Builder(tuple(raw.splits), bad=bad)
    count = sum(len(split) for split in raw.splits.values())
    done = 0
    for split_name, split in raw.splits.items():
        for place, result in enumerate(_looks(split)):
            name = raw.name_of(split_name, int(split.indices[place]))
            if isinstance(result, str):
                builder.bad.append(BadFile(name, result))
            else:
                builder.add(name, split_name, int(split.labels[place]), result)
            done += 1
            progress(done, count)

    def read(place: int) -> np.ndarray:
        split_name, index = builder.stored_at(place)
        images = raw.splits[split_name].images
        if isinstance(images, StreamedImages):
            return decode(images.load(tf.constant(index)), 3).numpy()
        return images.read(tf.constant([index]))[0].numpy()

    return builder.survey(raw.classes, read)


class _Builder:
    """A survey that grows image by image."""

    def __init__(self, splits: tuple[str, ...], bad: list[BadFile]) -> None:
        self.bad = bad
        self._splits = splits
        self._rows: list[tuple[str, int, int, int]] = []
        self._looks: list[Look] = []
        self._counts = dict.fromkeys(splits, 0)

    def add(self, name: str, split: str, label: int, look: Look) -> None:
        """Add an image."""
        self._rows.append((name, self._splits.index(split), self._counts[split], label))
        self._looks.append(look)
        self._counts[split] += 1

    def name_of(self, place: int) -> str:
        """Return the name of an image."""
        return self._rows[place][0]

    def stored_at(self, place: int) -> tuple[str, int]:
        """Return the split of an image, and its index in the store of that."""
        _, split, index, _ = self._rows[place]
        return self._splits[split], index

    def survey(self, classes: tuple[str, ...], read: Callable[[int], np.ndarray]) -> Survey:
        """Return what was added."""
        numbers = np.array([row[1:] for row in self._rows], np.int64).reshape(-1, 3)
        return Survey(
            classes=classes,
            splits=self._splits,
            names=tuple(row[0] for row in self._rows),
            split=numbers[:, 0],
            index=numbers[:, 1],
            labels=numbers[:, 2],
            looks=tuple(self._looks),
            bad=tuple(self.bad),
            read=read,
        )


def _looks(split: Split) -> Iterator[Look | str]:
    """Yield the look of each image of a split, or the fault of bytes that cannot be decoded."""
    if not isinstance(split.images, StreamedImages):
        for start in range(0, len(split), _AT_A_TIME):
            positions = np.arange(start, min(start + _AT_A_TIME, len(split)))
            images = split.subset(positions).read()
            pictures = shrink(images).numpy()
            for pixels, picture in zip(images.numpy(), pictures, strict=True):
                yield _look_at_pixels(pixels, picture)
        return
    contents = tf.data.Dataset.from_tensor_slices(split.indices).map(
        split.images.load, num_parallel_calls=4, deterministic=True
    )
    iterator = without_tuning(contents.prefetch(_AT_A_TIME)).as_numpy_iterator()
    while block := list(islice(iterator, _AT_A_TIME)):
        try:
            yield from _look_at_all(block)
        except tf.errors.InvalidArgumentError:  # one by one, to tell which
            for content in block:
                try:
                    yield look_at(content)
                except tf.errors.InvalidArgumentError:
                    yield describe_damage(content)


def look_at(content: bytes) -> Look:
    """Return the look of an image file's content.

    Raises:
        tf.errors.InvalidArgumentError: it cannot be decoded.
    """
    size, pixels, picture = _decode(tf.constant(content))
    return _look_of(content, size.numpy(), pixels.numpy(), picture.numpy())


def _look_at_all(contents: list[bytes]) -> list[Look]:
    """Return the looks of the contents of image files.

    Raises:
        tf.errors.InvalidArgumentError: one cannot be decoded.
    """
    decoded = [parts.numpy() for parts in _decode_all(tf.constant(contents))]
    return [_look_of(*parts) for parts in zip(contents, *decoded, strict=True)]


def _look_of(content: bytes, size: np.ndarray, pixels: bytes, picture: np.ndarray) -> Look:
    # The decoder has read all of it: what Pillow makes of the header cannot fail any more.
    with Image.open(io.BytesIO(content)) as image:
        mode = f"{image.format} {image.mode}"
    return Look(
        height=int(size[0]),
        width=int(size[1]),
        mode=mode,
        bytes_digest=digest_of([content]),
        pixels_digest=digest_of([pixels]),
        picture=picture,
    )


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _decode(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return size of an upright image, its serialised colours, and its small grey picture."""
    with tf.device("/CPU:0"):
        pixels = decode(encoded, 3)
        return tf.shape(pixels)[:2], tf.io.serialize_tensor(pixels), shrink(pixels[None])[0]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def _decode_all(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the same of images: a call costs more than the decoding of a small one."""
    specs = (
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([SIDE, SIDE], tf.uint8),
    )
    with tf.device("/CPU:0"):
        return tf.map_fn(_decode, encoded, parallel_iterations=4, fn_output_signature=specs)


def _look_at_pixels(pixels: np.ndarray, picture: np.ndarray) -> Look:
    height, width, channels = pixels.shape
    parts: list[Any] = [f"{height}x{width}x{channels}:".encode(), pixels.tobytes()]
    return Look(
        height=height,
        width=width,
        mode={1: "grey", 3: "colour"}[channels],
        bytes_digest="",
        pixels_digest=digest_of(parts),
        picture=picture,
    )
