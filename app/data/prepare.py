"""Preparation: a data set decoded and scaled once, into shards that are read without decoding.

A shard holds the pixels of its images and nothing else. Shards are written one by one beside the
folder's place, which appears whole, with a manifest of checksums, or not at all. A preparation that
was stopped goes on after the last shard.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.availability import is_flippable, source_of
from epochal.app.data.dataset import RawDataset, Split, StreamedImages, unreadable
from epochal.app.data.load import SOURCES, Reader
from epochal.app.data.sources.folder_listing import quoted
from epochal.app.errors import StorageError, UsageError
from epochal.app.store import files
from epochal.app.store.prepared import (
    DIGESTS,
    PREPARED,
    PreparedData,
    PreparedSplit,
    labels_file,
    shard_file,
)
from epochal.app.store.record import read_record
from epochal.app.units import size

SHARD_BYTES = 2**26  # of pixels; few enough to be lost by a stop, and many for a disk
_BUSY = "prepares data there; wait for it, or give another --out"


@dataclass(frozen=True)
class Progress:
    """Progress of a preparation: images that are done, and all of them."""

    done: int
    total: int


def prepare(
    config: Config,
    out: Path,
    *,
    report: Callable[[Progress], None],
    sources: Mapping[str, Reader] = SOURCES,
    shard_bytes: int = SHARD_BYTES,
) -> PreparedData:
    """Decode and scale the images of a data set into the folder `out`.

    Args:
        config: names the data set and says how its images are read.
        out: does not exist, or is empty.
        report: is told after each shard.
        sources: a reader for each kind of source.
        shard_bytes: the most bytes of pixels in a shard.

    Raises:
        UsageError: the data set cannot be read, changes meanwhile, or `out` holds something.
        StorageError: something cannot be written; what is finished is kept for another attempt.
        RunInUse: another process prepares the same folder.
    """
    _refuse_foreign(out)
    source = source_of(config.dataset)
    if source == "prepared":
        raise UsageError(f"{config.dataset} is prepared already; give its source")
    streaming = replace(config, data=replace(config.data, cache_gib=0.0))
    raw = sources[source](streaming)
    record = _describe(raw, config, shard_bytes)
    if (out / PREPARED).is_file():
        if read_record(out / PREPARED, PreparedData).content != record.content:
            raise UsageError(
                f"{quoted(out)} holds data prepared from other images or in other sizes; give "
                "another --out, or remove it"
            )
        files.verify(out)
        return record
    work = out.absolute().parent / f".{out.name}.preparing"
    with files.alone(work, _BUSY):
        _begin(work, record)
        try:
            _write_shards(work, record, raw, report)
        except tf.errors.OpError as error:
            raise UsageError(unreadable(error)) from error
        raw.check_unchanged()
        for name, split in raw.splits.items():
            files.write_bytes(labels_file(work, name), split.labels.astype("<i4").tobytes())
        files.write_json(work / DIGESTS, dict(raw.digests))
        files.publish_filled(work, out.absolute())
    return record


def _refuse_foreign(out: Path) -> None:
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise UsageError(f"--out {out}: a file of that name exists; give another name")
    if not (out / PREPARED).is_file() and any(out.iterdir()):
        raise UsageError(
            f"--out {out}: the folder holds other files, which are not overwritten; give another "
            "name"
        )


def _describe(raw: RawDataset, config: Config, shard_bytes: int) -> PreparedData:
    image_bytes = math.prod(raw.shape.stored_shape)
    per_shard = max(1, shard_bytes // image_bytes)
    splits = {}
    digest = hashlib.sha256()
    for name, split in raw.splits.items():
        full, rest = divmod(len(split), per_shard)
        shards = (per_shard,) * full
        if rest:
            shards = (*shards, rest)
        splits[name] = PreparedSplit(shards=shards)
        digest.update(f"{name} {shards}".encode())
        digest.update(split.labels.astype("<i4").tobytes())
    facts = [raw.classes, raw.shape.stored_shape, raw.shape.image_size, raw.native_size]
    digest.update(json.dumps([*facts, dict(raw.digests)]).encode())
    return PreparedData(
        source=config.dataset,
        content=digest.hexdigest(),
        classes=raw.classes,
        channels=raw.shape.channels,
        stored_size=raw.shape.stored_size,
        image_size=raw.shape.image_size,
        native_size=raw.native_size,
        flippable=is_flippable(config.dataset),
        splits=splits,
        skipped=raw.skipped,
    )


def _begin(work: Path, record: PreparedData) -> None:
    """Make a work folder ready: what another attempt at the same images finished is kept."""
    files.sweep(work)
    plan = work / PREPARED
    if not plan.is_file():
        if any(work.iterdir()):
            raise UsageError(
                f"{quoted(work)} is no unfinished preparation, and is not overwritten; move it, or "
                "give another --out"
            )
    elif read_record(plan, PreparedData).content != record.content:
        # Only what a preparation makes; the record of the other images goes last.
        for pattern in ("*.images", "*.labels", DIGESTS, files.MANIFEST):
            for path in work.glob(pattern):
                path.unlink()
        plan.unlink()
    if not plan.is_file():
        files.write_json(plan, record.to_dict())
    need = 0
    for name, split in record.splits.items():
        for number, count in enumerate(split.shards):
            if not shard_file(work, name, number).is_file():
                need += count * record.image_bytes
    free = shutil.disk_usage(work).free
    if need > free:
        raise StorageError(
            f"{work}: the images take {size(need)}, but {size(free)} are free; free space, or give "
            "an --out on another disk or a smaller --image-size"
        )


def _write_shards(
    work: Path, record: PreparedData, raw: RawDataset, report: Callable[[Progress], None]
) -> None:
    total = sum(split.count for split in record.splits.values())
    done = 0
    for name, split in record.splits.items():
        first = 0
        for number, count in enumerate(split.shards):
            path = shard_file(work, name, number)
            if not path.is_file():
                stored = _decode(raw.splits[name], first, first + count)
                files.write_bytes(path, stored.tobytes())
            first += count
            done += count
            report(Progress(done, total))


def _decode(split: Split, first: int, end: int) -> np.ndarray:
    indices = split.indices[first:end]
    if isinstance(split.images, StreamedImages):
        assert indices[0] == first  # a source's splits are whole, in order
        assert indices[-1] == end - 1
        return split.images.decoded(first, end)
    images: np.ndarray = split.images.read(tf.constant(indices)).numpy()
    return images
