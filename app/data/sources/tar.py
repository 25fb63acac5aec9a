"""Tar shards in the layout of WebDataset: members with one stem are a sample.

`0001.jpg` and `0001.cls` are an image and its class: a number or text. `.txt` has it too, or
`.json` under `label`, `class` or `cls`; where a sample has several of them, the first of `.cls`,
`.json` and `.txt` counts, and members of other kinds are let be. The stem ends at the first dot of
a member's name (github.com/webdataset/webdataset, "The WebDataset Format"). Members are read where
they lie: nothing is unpacked.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from epochal.app.config import Config
from epochal.app.data.dataset import RawDataset
from epochal.app.data.sources.folder_listing import quoted
from epochal.app.data.sources.image_list import Listing, inspect_listing, raw_dataset
from epochal.app.data.sources.labels import check_label
from epochal.app.data.sources.members import Place
from epochal.app.data.sources.shard_listing import Sample, list_shards
from epochal.app.data.sources.tar_index import Member, members_of
from epochal.app.errors import UsageError

_IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp")
_LABELS = ("cls", "json", "txt")
_KEYS = ("label", "class", "cls")
_MOST_LABEL_BYTES = 100_000


@dataclass
class _Members:
    """The members of one stem that count."""

    image: Member | None = None
    labels: dict[str, Member] = field(default_factory=dict)


def read(config: Config) -> RawDataset:
    """Read the tar shards that a configuration names.

    Raises:
        UsageError, BadFiles: as `list_images` and `inspect_listing`.
    """
    scan = inspect_listing(list_images(config), skip_bad=config.data.skip_bad, must_train=True)
    return raw_dataset(scan, config)


def list_images(config: Config, known: Sequence[str] | None = None) -> Listing:
    """List the images of tar shards by split and class.

    Args:
        config: names the shards and, maybe, a list of classes.
        known: the classes of a trained network, of which the shards may have any.

    Raises:
        UsageError: a shard is damaged or hostile, or a label is none.
    """
    return list_shards(config, known, samples_of)


def samples_of(path: Path) -> Iterator[Sample]:
    """Give the samples of a shard in order.

    Raises:
        UsageError: the shard is damaged or hostile, or a label is none.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        for stem, members in _by_stem(path).items():
            image = members.image
            if image is None:
                yield Sample(stem, fault="has no image (.jpg, .png, .webp, .gif or .bmp)")
                continue
            label = None
            for ending in _LABELS:
                if label is None and ending in members.labels:
                    label = _label_in(file, path, members.labels[ending], ending)
            if label is None:
                fault = "has no label (.cls, .txt, or label in .json)"
                yield Sample(image.name, fault=fault)
                continue
            place = Place(os.fspath(path), image.offset, image.length)
            number = None
            if re.fullmatch("-?(0|[1-9][0-9]{0,17})", label):
                number = int(label)
            yield Sample(
                image.name, place=place, text=label, number=number, is_named=number is None
            )


def _by_stem(path: Path) -> dict[str, _Members]:
    samples: dict[str, _Members] = {}
    names = set()
    for member in members_of(path):
        if member.name in names:
            raise UsageError(
                f"{quoted(path)} has two members {quoted(member.name)}; make it with one of them"
            )
        names.add(member.name)
        folder, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        ending = ending.lower()
        if name.startswith("."):
            continue  # of an operating system, as ._0001.jpg
        if ending not in (*_IMAGES, *_LABELS):
            # A sample all the same, which then has no image.
            samples.setdefault(folder + slash + stem, _Members())
            continue
        sample = samples.setdefault(folder + slash + stem, _Members())
        if ending in _LABELS:
            sample.labels[ending] = member
        elif sample.image is None:
            sample.image = member
        else:
            raise UsageError(
                f"{quoted(path)} has two images of one sample, {quoted(sample.image.name)} and "
                f"{quoted(member.name)}; make it with one of them"
            )
    return samples


def _label_in(file: IO[bytes], path: Path, member: Member, ending: str) -> str | None:
    """Return the label in a member; None where a JSON object has none."""
    where = f"{quoted(path)}, member {quoted(member.name)}"
    if member.length > _MOST_LABEL_BYTES:
        raise UsageError(
            f"{where}: {member.length:,} bytes are no label; a label has at most "
            f"{_MOST_LABEL_BYTES:,}: make the shard without it"
        )
    file.seek(member.offset)
    try:
        text = file.read(member.length).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: the label is no text in UTF-8; write it so") from error
    if ending != "json":
        return check_label(text, where)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: no JSON ({error}); mend it") from error
    if not isinstance(values, dict):
        raise UsageError(f'{where}: expected an object, as {{"label": "cat"}}; mend it')
    for key in _KEYS:
        if key in values:
            return check_label(values[key], where)
    return None
