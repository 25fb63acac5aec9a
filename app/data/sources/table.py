"""Tables of paths and labels: a CSV file with a header, or JSON Lines, an object a line.

A path is relative to the table. It may lead out of the table's folder, or be absolute: images often
lie on another disk, and reading is all that is done to them. Only regular files are opened, only
what decodes as an image is used, and nothing is fetched from a network.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.app.config import Config
from epochal.app.config.checks import shortened
from epochal.app.data.dataset import RawDataset
from epochal.app.data.sources.class_list import read_classes, read_text
from epochal.app.data.sources.folder_listing import listed, quoted
from epochal.app.data.sources.image_list import (
    FilesOnDisk,
    Layout,
    Listing,
    inspect_listing,
    raw_dataset,
)
from epochal.app.data.sources.labels import check_label, choose_classes
from epochal.app.data.sources.split_names import ALL, SPLIT_NAMES
from epochal.app.errors import UsageError

_MOST_BYTES = 2**30
_PATHS = ("path", "file", "filename", "image")
_LABELS = ("label", "class")
_SPLIT = "split"


@dataclass(frozen=True)
class _Row:
    """A row of a table, with the number of its line."""

    line: int
    path: str
    label: str
    split: str | None


def read(config: Config) -> RawDataset:
    """Read the table that a configuration names, and its images.

    Raises:
        UsageError, BadFiles: as `list_images` and `inspect_listing`.
    """
    listing = list_images(config)
    scan = inspect_listing(listing, skip_bad=config.data.skip_bad, must_train=True)
    return raw_dataset(scan, config)


def list_images(config: Config, known: Sequence[str] | None = None) -> Listing:
    """List the images of a table by split and class.

    Args:
        config: names the table and, maybe, a list of classes.
        known: the classes of a trained network, of which the table may have any.

    Raises:
        UsageError: naming the first line with a fault.
    """
    file = Path(os.path.expanduser(config.dataset))
    text = read_text(file, _MOST_BYTES)
    read_rows = _csv_rows if file.suffix.lower() == ".csv" else _json_rows
    layout = _layout(file, read_rows(file, text))
    if not layout:
        raise UsageError(f"{quoted(file)} lists no images; add a line for each")
    given = None
    if config.data.classes is not None and known is None:
        given = read_classes(config.data.classes)
    classes = choose_classes(file, layout, given=given, known=known)
    return Listing(
        root=file,
        layout=layout,
        classes=classes,
        store=FilesOnDisk(),
        watched=(os.fspath(file),),
        split_advice="add a column split (train, val, test), where one image does",
    )


def _csv_rows(file: Path, text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    columns = None
    try:
        for cells in reader:
            if not any(cells):
                continue
            if columns is None:
                columns = _columns(file, cells)
                width = len(cells)
                continue
            if len(cells) != width:
                raise UsageError(
                    f"{quoted(file)}, line {reader.line_num}: expected {width} cells as in the "
                    f"header, got {len(cells)}; put text with commas in quotes"
                )
            yield _row(file, reader.line_num, [cells[place] for place in columns])
    except csv.Error as error:
        raise UsageError(
            f"{quoted(file)}, line {reader.line_num}: {error}; save it as CSV with commas"
        ) from error


def _json_rows(file: Path, text: str) -> Iterator[_Row]:
    # Not `splitlines`, which also ends lines at characters that JSON leaves in text.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{quoted(file)}, line {number}: no JSON ({error}); mend it"
            ) from error
        if not isinstance(values, dict):
            raise UsageError(
                f"{quoted(file)}, line {number}: expected an object, got "
                f'{shortened(repr(values))}; write {{"path": ..., "label": ...}}'
            )
        keys = list(values)
        cells = [values[keys[place]] for place in _columns(file, keys, number)]
        yield _row(file, number, cells)


def _columns(file: Path, names: Sequence[str], line: int = 1) -> list[int]:
    """Return the places of path, label and, where there is one, split."""
    lower = [name.strip().lower() for name in names]
    places = []
    for known in (_PATHS, _LABELS, (_SPLIT,)):
        matching = [place for place, name in enumerate(lower) if name in known]
        if not matching and known == (_SPLIT,):
            continue
        if len(matching) != 1:
            raise UsageError(
                f"{quoted(file)}, line {line}: expected one of the names {', '.join(known)}, got "
                f"{len(matching)} of them in {listed(names)}; name the columns so, with commas "
                "between them"
            )
        places += matching
    return places


def _row(file: Path, line: int, cells: Sequence[Any]) -> _Row:
    where = f"{quoted(file)}, line {line}"
    path = cells[0]
    if not isinstance(path, str) or not path or "\0" in path:
        raise UsageError(
            f"{where}: expected the path of an image, got {shortened(repr(path))}; mend it"
        )
    if "://" in path:
        raise UsageError(f"{where}: {quoted(path)} is no file; nothing is fetched: give its path")
    split = None
    if len(cells) > 2:
        split = SPLIT_NAMES.get(str(cells[2]).strip().lower())
        if split is None:
            shown = shortened(repr(cells[2]))
            raise UsageError(
                f"{where}: expected train, val or test for the split, got {shown}; mend it"
            )
    return _Row(line, path, check_label(cells[1], where), split)


def _layout(file: Path, rows: Iterator[_Row]) -> Layout:
    """Return paths by split and class; a row that is there twice counts once."""
    layout: Layout = {}
    seen: dict[str, _Row] = {}
    for row in rows:
        path = os.path.normpath(os.path.join(file.parent, row.path))
        before = seen.setdefault(path, row)
        if before is not row:
            if (before.label, before.split) != (row.label, row.split):
                what = "labels" if before.label != row.label else "splits"
                raise UsageError(
                    f"{quoted(file)}: {quoted(row.path)} has different {what} in lines "
                    f"{before.line} and {row.line}; keep one of them (an image has one class)"
                )
            continue
        if (before.split is None) != (next(iter(seen.values())).split is None):
            raise UsageError(f"{quoted(file)}, line {row.line}: give a split in every line or none")
        by_class = layout.setdefault(row.split or ALL, {})
        by_class.setdefault(row.label, []).append(path)
    return layout
