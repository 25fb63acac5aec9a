"""Folders of images, one sub-folder a class: read, or refused where training would be spoilt."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from epochal.app.characters import printable
from epochal.app.config import Config
from epochal.app.data.dataset import RawDataset
from epochal.app.data.file_inspection import BadFiles
from epochal.app.data.sources.folder_layout import Nested, check_classes, read_layout
from epochal.app.data.sources.folder_listing import quoted
from epochal.app.data.sources.image_list import (
    FilesOnDisk,
    ImageScan,
    Listing,
    check_known,
    inspect_listing,
    raw_dataset,
)

_LOG = logging.getLogger(__name__)

__all__ = ["BadFiles", "list_images", "list_known", "read", "scan"]


def list_images(
    root: Path, *, nested: Nested = "joined", known: Sequence[str] | None = None
) -> Listing:
    """List the images under `root` by split and class.

    Args:
        root: the data set's folder.
        nested: what folders inside class folders are.
        known: the classes of a trained network, of which the folder may hold any; None where it is
            to be trained on, and must have what training needs.

    Raises:
        UsageError: the folder is missing, unreadable or not laid out as `folder_layout` says.
    """
    content = read_layout(root, nested=nested, must_train=known is None)
    if known is None:
        classes = check_classes(root, content.layout)
    else:
        classes = tuple(known)
        check_known(root, content.layout, classes, "rename or remove the folder")
    if content.joined:
        above = Path(content.joined[0]).parent
        _LOG.info(
            f"{root}: folders inside class folders belong to their class, as "
            f"{quoted(content.joined[0])} ({len(content.joined):,} in all); for classes of their "
            f"own, give --data.nested classes, or of these alone --dataset {printable(above)}"
        )
    return Listing(
        root=root,
        layout=content.layout,
        classes=classes,
        store=FilesOnDisk(),
        strays=content.strays,
        relist=lambda: read_layout(root, nested=nested, must_train=False).layout,
        split_advice="give folders train, val and test, where one image does",
    )


def list_known(config: Config, known: Sequence[str]) -> Listing:
    """List the folder of images that a configuration names for a trained network's classes."""
    root = Path(os.path.expanduser(config.dataset))
    return list_images(root, nested=config.data.nested, known=known)


def scan(
    root: Path,
    *,
    skip_bad: bool = False,
    nested: Nested = "joined",
    known: Sequence[str] | None = None,
) -> ImageScan:
    """List and decode every image under `root`.

    Args:
        root: the data set's folder.
        skip_bad: leave unusable files out instead of raising.
        nested: what folders inside class folders are.
        known: as for `list_images`.

    Raises:
        BadFiles: some files are unusable and `skip_bad` is false, or too few are left.
        UsageError: as `list_images`.
    """
    listing = list_images(Path(root), nested=nested, known=known)
    return inspect_listing(listing, skip_bad=skip_bad, must_train=known is None)


def read(config: Config, scan: Callable[..., ImageScan] = scan) -> RawDataset:
    """Read the folder of images that a configuration names.

    Args:
        config: of the run.
        scan: lists and decodes the images; a test may let files vanish after it.

    Raises:
        UsageError, BadFiles: as `scan`; or files were changed while they were read.
    """
    content = scan(
        Path(os.path.expanduser(config.dataset)),
        skip_bad=config.data.skip_bad,
        nested=config.data.nested,
    )
    return raw_dataset(content, config)
