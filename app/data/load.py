"""From a configuration to three splits: `load` is the only way data enters the application."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.config.splits import Fold
from epochal.app.data.augment import Augmentation
from epochal.app.data.availability import is_folder
from epochal.app.data.dataset import Dataset, Preprocessing, Split, Streamed, unreadable
from epochal.app.data.folds import fold
from epochal.app.data.sources import digits, folder, tfds
from epochal.app.data.splits import stratified
from epochal.app.data.statistics import mean_and_deviation
from epochal.app.errors import UsageError

# Mirrored, these show another character or none.
_NOT_FLIPPABLE = (
    "digits",
    "mnist",
    "emnist",
    "kmnist",
    "svhn",
    "omniglot",
    "binary_alpha_digits",
    "cmaterdb",
)
_LATEST: dict[
    tuple[object, ...], "Source"
] = {}  # of prepared data, for the next run of this process
_LARGEST_PADDED = 64  # pixels: above, images are scaled and cropped, the ImageNet way


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a source delivers before anything is carved off; splits are train, validation, test, or the single all."""

    splits: dict[str, Split]
    classes: tuple[str, ...]
    channels: int
    stored_size: int
    image_size: int
    skipped: tuple[tuple[str, str], ...] = ()


def load(config: Config) -> Dataset:
    """Reads the data set that the configuration names; what splits it lacks are carved off, stratified and seeded.

    Raises:
        UsageError: when it cannot be found, read, or split; `folder.BadFiles` names every unreadable image.
    """
    try:
        return _loaded(config)
    except tf.errors.OpError as error:  # in memory or streamed, images are first decoded here
        raise UsageError(unreadable(error)) from error


def _loaded(config: Config) -> Dataset:
    source = _source(config)
    splits = complete(source.splits, config.seed, config.data.validation)
    if config.data.split is not None:
        pool = (
            splits["train"]
            if "validation" in source.splits
            else _together(splits["train"], splits["validation"])
        )
        splits |= split_again(pool, config.data.fold, config.seed)
    if config.data.part is not None:
        splits["train"] = part_of(splits["train"], config.data.part, config.seed)
    mean, deviation = mean_and_deviation(splits["train"], source.stored_size, config.seed)
    return Dataset(
        name=config.dataset,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        preprocessing=Preprocessing(
            classes=source.classes,
            channels=source.channels,
            stored_size=source.stored_size,
            image_size=source.image_size,
            mean=mean,
            deviation=deviation,
        ),
        flippable=not config.dataset.split("/")[0].startswith(_NOT_FLIPPABLE),
        skipped=source.skipped,
    )


def complete(
    splits: dict[str, Split], seed: int, validation: float | None = None
) -> dict[str, Split]:
    """Carves what is missing: 60/20/20 of a single split; else 10 % of train each for validation and test.

    `validation` is another share for that split. A test split that exists is never touched.
    """
    names = ("train", "validation", "test")
    present = {name: split for name, split in splits.items() if name in names}
    alone = set(present) in (set(), {"train"})
    if alone:
        present = {"train": next(iter(splits.values()))}
    missing = {name: 0.2 if alone else 0.1 for name in names if name not in present}
    if "validation" in missing and validation is not None:
        missing["validation"] = validation
    if not missing:
        return present
    fractions = {"train": 1 - sum(missing.values()), **missing}
    return {**present, **_carved(present["train"], fractions, seed)}


def split_again(pool: Split, chosen: Fold | None, seed: int) -> dict[str, Split]:
    """What becomes of the images to train and validate on: a fold's two splits; without a fold all are trained on."""
    if chosen is None:
        return {"train": pool}
    train, validation = fold(pool.labels, chosen.splits, chosen.number - 1, seed)
    return {"train": pool.subset(train), "validation": pool.subset(validation)}


def _together(one: Split, other: Split) -> Split:
    """Two splits of one store, in the order of their images."""
    indices, labels = (
        np.concatenate([getattr(s, key) for s in (one, other)]) for key in ("indices", "labels")
    )
    return Split(one.images, indices, labels).subset(np.argsort(indices))


def _carved(split: Split, fractions: dict[str, float], seed: int) -> dict[str, Split]:
    parts = stratified(split.labels, tuple(fractions.values()), seed)
    return {name: split.subset(part) for name, part in zip(fractions, parts, strict=True)}


def part_of(split: Split, share: float, seed: int) -> Split:
    """A share of a split's images, of every class alike."""
    return split.subset(stratified(split.labels, (share, 1 - share), seed)[0])


def augmentation_for(config: Config, dataset: Dataset) -> Augmentation:
    """The configured augmentation, its open choices decided by the data set."""
    stored = dataset.preprocessing.stored_size
    size = dataset.preprocessing.image_size
    pad = config.augment.pad_crop
    flip = config.augment.flip
    if pad is None:
        pad = size // 8 if stored == size and size <= _LARGEST_PADDED else 0
    if pad >= stored:
        raise UsageError(
            f"augment.pad_crop: {pad} pixels around images of {stored}; give less than their side"
        )
    flip = dataset.flippable if flip is None else flip
    return Augmentation(
        stored_size=stored, image_size=size, pad=pad, border=config.augment.border, flip=flip
    )


def _source(config: Config) -> Source:
    """What this process read last, once more, where its prepared files are the same; all else is read anew."""
    if config.dataset == "digits" or is_folder(config.dataset):
        _LATEST.clear()
        return _digits(config) if config.dataset == "digits" else _folder(config)
    files = sorted(tfds.find(config.dataset, config.data_dir).folder.iterdir())
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    key = (config.image_size, config.augment.scale_crop, config.data.cache_gib, stamps)
    if key not in _LATEST:
        _LATEST.clear()  # first: two data sets may not fit into memory
        _LATEST[key] = _tfds(config)
    return _LATEST[key]


def _sizes(config: Config, native: int | None) -> tuple[int, int]:
    """Side of stored images and of the model's input."""
    size = config.image_size or native
    if size is None:
        raise UsageError(
            f"image_size: images of {config.dataset} differ in size; give one, for instance --image-size 64"
        )
    scale_crop = config.augment.scale_crop
    if scale_crop is None:
        scale_crop = size > _LARGEST_PADDED and size != native
    return (round(size * 8 / 7) if scale_crop else size), size


def _digits(config: Config) -> Source:
    stored, size = _sizes(config, 8)
    split, classes = digits.load(stored)
    return Source(
        splits={"all": split}, classes=classes, channels=1, stored_size=stored, image_size=size
    )


def _tfds(config: Config) -> Source:
    builder = tfds.builder_of(tfds.find(config.dataset, config.data_dir))
    image_key, label_key = builder.info.supervised_keys
    height, width, channels = builder.info.features[image_key].shape
    stored, size = _sizes(config, height if height == width else None)
    wanted = [name for name in ("train", "validation", "test") if name in builder.info.splits] or [
        *builder.info.splits
    ][:1]
    splits = {}
    for name in wanted:
        found = tfds.records(builder, name)
        splits[name] = _stored(found.reader(), found.labels, (stored, channels or 3), config)
    return Source(
        splits=splits,
        classes=tuple(builder.info.features[label_key].names),
        channels=channels or 3,
        stored_size=stored,
        image_size=size,
    )


def _folder(config: Config) -> Source:
    found = folder.scan(Path(config.dataset).expanduser(), skip_bad=config.data.skip_bad)
    stored, size = _sizes(config, found.native_size)
    splits = {}
    for name, files in found.splits.items():
        read = _file_reader([str(path) for path in files.paths])
        splits[name] = _stored(read, files.labels, (stored, found.channels), config)
    return Source(
        splits=splits,
        classes=found.classes,
        channels=found.channels,
        stored_size=stored,
        image_size=size,
        skipped=tuple((str(bad.path), bad.reason) for bad in found.bad),
    )


def _file_reader(paths: list[str]) -> Callable[[tf.Tensor], tf.Tensor]:
    names = tf.constant(paths)
    return lambda index: tf.io.read_file(names[index])


def _stored(
    read: Callable[[tf.Tensor], tf.Tensor],
    labels: np.ndarray,
    shape: tuple[int, int],
    config: Config,
) -> Split:
    """A split of encoded images, decoded into memory when they fit there."""
    size, channels = shape
    images = Streamed(read, size, channels)
    small = len(labels) * size * size * channels <= config.data.cache_gib * 2**30
    return Split(images.cached(len(labels)) if small else images, np.arange(len(labels)), labels)
