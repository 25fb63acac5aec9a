"""The corpus of image files through every source: folders, tables, tar and TFRecord files."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.load import LISTINGS
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.sources.folder import BadFiles
from epochal.app.data.sources.image_list import ImageScan, inspect_listing, splits_of
from tests.support import corpus
from tests.support.shards import slim, write_records, write_tar

Images = list[tuple[str, str, bytes]]  # name, class and content
SIZE = 12


def folder(root: Path, images: Images) -> Path:
    for name, label, content in images:
        (root / label).mkdir(exist_ok=True)
        (root / label / f"{name}.jpg").write_bytes(content)
    return root


def table(root: Path, images: Images) -> Path:
    folder(root, images)
    with open(root / "labels.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("file", "class"))
        rows.writerows((f"{label}/{name}.jpg", label) for name, label, _ in images)
    return root / "labels.csv"


def tar(root: Path, images: Images) -> Path:
    members = {}
    for name, label, content in images:
        members[f"{name}.jpg"] = content
        members[f"{name}.cls"] = label.encode()
    return write_tar(root / "images.tar", members)


def tfrecord(root: Path, images: Images) -> Path:
    records = [slim(content, int(label == "dog"), label) for _, label, content in images]
    return write_records(root / "images.tfrecord", records)


WRITERS: dict[str, Callable[[Path, Images], Path]] = {
    "folder": folder,
    "table": table,
    "tar": tar,
    "tfrecord": tfrecord,
}


# Those of files on disk are quick in test_folder.py.
SOURCES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("folder", "table") else [])
    for name in WRITERS
]


def scan(source: str, dataset: Path, *, skip_bad: bool) -> ImageScan:
    listing = LISTINGS[source](Config(dataset=str(dataset)), ["cat", "dog"])
    return inspect_listing(listing, skip_bad=skip_bad, must_train=True)


def pets() -> Images:
    content = corpus.encoded(corpus.picture(), "PNG")
    return [(f"{label}{number}", label, content) for label in ("cat", "dog") for number in range(3)]


@pytest.mark.parametrize("source", SOURCES)
def test_every_broken_image_is_named_with_its_reason(tmp_path: Path, source: str) -> None:
    broken = list(corpus.broken().values())
    images = [(f"x{number:03}", "cat", case.content) for number, case in enumerate(broken)]
    dataset = WRITERS[source](tmp_path, [*pets(), *images])
    with pytest.raises(BadFiles, match=f"^{len(broken)} of {len(broken) + 6} files") as caught:
        scan(source, dataset, skip_bad=False)
    for file, case in zip(caught.value.bad, broken, strict=True):
        assert re.search(case.reason, file.reason), file
        assert file.reason.isprintable()
    content = scan(source, dataset, skip_bad=True)
    assert content.bad == caught.value.bad
    assert content.splits["all"].labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("cache_gib", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_every_sound_image_is_what_it_is_alone(
    tmp_path: Path, source: str, cache_gib: float
) -> None:
    sound = [case.content for case in corpus.sound().values()]
    images = [(f"x{number:03}", "cat", content) for number, content in enumerate(sound)]
    dataset = WRITERS[source](tmp_path, [*images, *pets()])
    shape = ImageShape(channels=3, stored_size=SIZE, image_size=SIZE)
    content = scan(source, dataset, skip_bad=False)
    stored = splits_of(content, shape, cache_gib)["all"].read()
    in_order = [*images, *pets()]
    if source == "folder":
        in_order.sort()
    in_order.sort(key=lambda image: image[1])
    alone = shape.store_files(tf.constant([image[2] for image in in_order]))
    np.testing.assert_array_equal(stored, alone)
