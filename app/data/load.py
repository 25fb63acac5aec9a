"""Loading: from a configuration to three splits, the only way for data into the application."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.audit.together import group_copies
from epochal.app.data.availability import is_flippable, source_of
from epochal.app.data.dataset import Dataset, RawDataset, Split, unreadable
from epochal.app.data.handedness import HANDED, told_from_mirrored
from epochal.app.data.preprocessing import ImageShape, Preprocessing
from epochal.app.data.sources import digits, folder, prepared, table, tar, tfds, tfrecord
from epochal.app.data.sources.image_list import Listing, inspect_listing, splits_of
from epochal.app.data.splits import make_splits
from epochal.app.data.statistics import mean_and_deviation
from epochal.app.errors import UsageError

Reader = Callable[[Config], RawDataset]

# By the kind that `source_of` finds in a configuration; a test may put a reader of its own here, or
# hand a table in.
SOURCES: dict[str, Reader] = {
    "digits": digits.read,
    "folder": folder.read,
    "table": table.read,
    "tar": tar.read,
    "tfrecord": tfrecord.read,
    "prepared": prepared.read,
    "tfds": tfds.read,
}

# Sources of images of the user's own, listed for a network that is trained and knows its classes.
LISTINGS: dict[str, Callable[[Config, Sequence[str]], Listing]] = {
    "folder": folder.list_known,
    "table": table.list_images,
    "tar": tar.list_images,
    "tfrecord": tfrecord.list_images,
}


@dataclass
class LastPrepared:
    """The prepared data set that was read last: a search of many runs reads it once."""

    _key: tuple[object, ...] | None = None
    _raw: RawDataset | None = None

    def forget(self) -> None:
        """Let go of the data set."""
        self._key = None
        self._raw = None

    def read(self, config: Config, reader: Reader) -> RawDataset:
        """Return the data set of last time if its files and sizes are the same; else read it."""
        prepared = tfds.find(config.dataset, config.data_dir)
        parts: list[object] = [config.image_size, config.augment.scale_crop, config.data.cache_gib]
        for file in sorted(prepared.folder.iterdir()):
            status = file.stat()
            parts.append((str(file), status.st_size, status.st_mtime_ns))
        key = tuple(parts)
        if self._raw is None or self._key != key:
            self.forget()  # first: two data sets may not fit into memory
            self._raw = reader(config)
            self._key = key
        return self._raw


_LAST_PREPARED = LastPrepared()


def load(
    config: Config,
    *,
    sources: Mapping[str, Reader] = SOURCES,
    last_prepared: LastPrepared = _LAST_PREPARED,
) -> Dataset:
    """Read the data set that a configuration names; splits that it lacks are carved off.

    Args:
        config: of the run.
        sources: a reader for each kind of source.
        last_prepared: prepared data that need not be read again.

    Raises:
        UsageError: it cannot be found, read, or split; `BadFiles` names every unreadable image.
    """
    try:
        raw = _read(config, sources, last_prepared)
        return _split(raw, config)
    except tf.errors.OpError as error:  # in memory or streamed, images are first decoded here
        raise UsageError(unreadable(error)) from error


def read_splits(config: Config, classes: Sequence[str], shape: ImageShape) -> dict[str, Split]:
    """Read other images of a user for a trained network with these classes and sizes.

    Args:
        config: of the network's run, but for the data set.
        classes: of the network, of which the images may have any.
        shape: sizes of the network's images.

    Raises:
        UsageError, BadFiles: they cannot be read, or a class is none of the network's.
    """
    source = source_of(config.dataset)
    if source not in LISTINGS:
        raise UsageError(
            f"{config.dataset} is no folder, table or shards of images, as other data to evaluate "
            "must be; give one"
        )
    listing = LISTINGS[source](config, classes)
    scan = inspect_listing(listing, skip_bad=False, must_train=False)
    return splits_of(scan, shape, config.data.cache_gib)


def _read(config: Config, sources: Mapping[str, Reader], last_prepared: LastPrepared) -> RawDataset:
    source = source_of(config.dataset)
    if source == "tfds":
        return last_prepared.read(config, sources[source])
    last_prepared.forget()
    return sources[source](config)


def _split(raw: RawDataset, config: Config) -> Dataset:
    groups = None
    if config.data.near_duplicates == "keep-together":
        groups = group_copies(raw)
    splits, moved = make_splits(
        raw.splits, raw.classes, config, None if groups is None else groups.of_pool
    )
    mean, deviation = mean_and_deviation(
        splits["train"],
        raw.shape,
        config.seed,
        of_range=config.data.normalization == "minmax",
    )
    flippable = raw.flippable
    if flippable is None:
        flippable = raw.flippable
    if flippable is None:
        flippable = is_flippable(config.dataset)
    handedness = None
    if flippable and config.augment.flip is None:
        handedness = told_from_mirrored(splits["train"], raw.shape, config.seed)
        flippable = handedness < HANDED
    return Dataset(
        name=config.dataset,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        preprocessing=Preprocessing(
            classes=raw.classes,
            channels=raw.shape.channels,
            stored_size=raw.shape.stored_size,
            image_size=raw.shape.image_size,
            mean=mean,
            deviation=deviation,
        ),
        flippable=flippable,
        handedness=handedness,
        digests=raw.digests,
        skipped=raw.skipped,
        copies=None if groups is None else groups.describe(raw, moved),
    )
