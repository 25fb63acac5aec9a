"""Checks of classes and augmentation, which compute nothing."""

import numpy as np

from epochal.app.data.availability import is_flippable
from epochal.app.data.handedness import HANDED, told_from_mirrored
from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.training.run.setup import Setup


def check_classes(setup: Setup) -> Finding:
    """Check that splits and model have the same classes, and every split has images of each."""
    names = setup.dataset.preprocessing.classes
    for name in names:
        if names.count(name) > 1:
            return error(f"two classes are called {name!r}; give each a name of its own")
    num_classes = len(names)
    outputs = setup.model.output_shape[-1]
    if outputs != num_classes:
        return error(f"the model has {outputs} outputs for {num_classes} classes; make them equal")
    for split in ("train", "validation", "test"):
        labels = getattr(setup.dataset, split).labels
        finding = _check_labels(split, labels, names)
        if finding is not None:
            return finding
    return ok(f"{num_classes} classes, each with images in train, validation and test")


def _check_labels(split: str, labels: np.ndarray, names: tuple[str, ...]) -> Finding | None:
    """Return what is wrong with the labels of a split, if anything."""
    num_classes = len(names)
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= num_classes:
        return error(
            f"{split} has labels outside 0 to {num_classes - 1}, or none; look at the labels"
        )
    absent = np.setdiff1d(np.arange(num_classes), labels)
    if len(absent) == 0:
        return None
    first_names = [names[label] for label in absent[:5]]
    examples = ", ".join(first_names)
    text = f"{split} has no image of {len(absent)} of {num_classes} classes ({examples}); add some"
    if split == "train":
        return error(text)
    return warning(text)


def check_flips(setup: Setup) -> Finding:
    """Check that images are not mirrored which differ from mirrored ones, as characters do."""
    if not setup.batches.augmentation.flip:
        return ok("images are not mirrored")
    name = setup.dataset.name
    if not is_flippable(name):
        return warning(f"mirrored {name} are other characters or none; give --augment.flip false")
    share = setup.dataset.handedness
    if share is None:
        share = told_from_mirrored(
            setup.dataset.train, setup.dataset.preprocessing, setup.config.seed
        )
    text = (
        f"images are mirrored, and a simple rule tells {share:.0%} of them from their mirror "
        "images (guessing: 50%)"
    )
    if share < HANDED:
        return ok(text)
    return warning(f"{text}: no image of the test looks like these; give --augment.flip false")
