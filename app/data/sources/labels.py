"""Labels of tables and shards: one class an image, as text, in the order of a class list."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from epochal.app.characters import printable
from epochal.app.config.checks import shortened
from epochal.app.data.sources.folder_listing import listed, quoted
from epochal.app.data.sources.image_list import (
    Layout,
    check_class_names,
    check_known,
    check_split_classes,
)
from epochal.app.data.sources.split_names import ALL
from epochal.app.errors import UsageError

_SEPARATORS = ";|"  # between several classes in one cell


def check_label(value: Any, where: str) -> str:
    """Return a label as text, which it stays: "01", "no" and "1e3" are names of classes.

    Args:
        value: text, or a whole number of JSON.
        where: file and place, for messages.

    Raises:
        UsageError: it is nothing, another value, or several classes.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list | dict):
        raise _several(value, where)
    if not isinstance(value, str):
        raise UsageError(
            f"{where}: expected a label, got {shortened(repr(value))}; give it as text"
        )
    label = value.strip()
    if not label:
        raise UsageError(f"{where}: expected a label, got nothing; give the class of the image")
    is_list = label.startswith("[") and label.endswith("]")
    if is_list or any(separator in label for separator in _SEPARATORS):
        raise _several(label, where)
    return label


def _several(value: Any, where: str) -> UsageError:
    shown = shortened(printable(value))
    return UsageError(
        f"{where}: label {shown} names several classes; images of several classes (multi-label) "
        "cannot be trained on: give each image one"
    )


def choose_classes(
    root: Path,
    layout: Layout,
    *,
    given: Sequence[str] | None,
    known: Sequence[str] | None,
    order: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """Return the classes in the order of the labels.

    Args:
        root: file or folder of the data set, for messages.
        layout: names of images by split and class.
        given: a list of classes, outside of which there must be none; None where the labels that
            there are make it.
        known: the classes of a trained network, of which there may be any.
        order: the number of each label, by which they are sorted; None where that is by text, as in
            folders.

    Raises:
        UsageError: a label is outside of the list, a listed class has no image to train on, or
            there are fewer than two classes.
    """
    if known is not None:
        check_known(root, layout, known, "correct the labels")
        return tuple(known)
    if ALL not in layout and "train" not in layout:
        raise UsageError(f"{quoted(root)} has {listed(layout)} but no 'train' split; add it")
    for by_class in layout.values():
        check_class_names(root, by_class)
    found = check_split_classes(layout)
    if given is None:
        classes = tuple(sorted(found, key=None if order is None else order.__getitem__))
    else:
        classes = tuple(given)
        check_class_names(root, classes)
        for name in found:
            if name not in classes:
                raise UsageError(
                    f"label {quoted(name)} in {quoted(root)} is outside the class list, which has "
                    f"{listed(classes)}; correct the label or the list"
                )
        unseen = [name for name in classes if name not in found]
        if unseen:
            raise UsageError(
                f"class {quoted(unseen[0])} of the class list has no image to train on in "
                f"{quoted(root)} ({len(unseen):,} such in all); add images or remove the class"
            )
    if len(classes) < 2:
        raise UsageError(
            f"{quoted(root)} has 1 class ({listed(classes)}), expected at least 2; add one"
        )
    return classes
