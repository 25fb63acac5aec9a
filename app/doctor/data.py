"""Checks of classes and augmentation: nothing is computed."""

import numpy as np

from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.training.run.setup import Setup


def classes_agree(setup: Setup) -> Finding:
    """The splits and the model know the same classes, and every split has images of each."""
    dataset = setup.dataset
    names = setup.dataset.preprocessing.classes
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return error(f"two classes are called {twice!r}; give each a name of its own")
    if setup.model.output_shape[-1] != len(names):
        return error(
            f"the model has {setup.model.output_shape[-1]} outputs for {len(names)} classes; make them equal"
        )
    for split in ("train", "validation", "test"):
        labels = getattr(dataset, split).labels
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(names):
            return error(
                f"{split} has labels outside 0 to {len(names) - 1}, or none; look at the labels"
            )
        absent = np.setdiff1d(np.arange(len(names)), labels)
        if len(absent):
            some = ", ".join(names[label] for label in absent[:5])
            what = (
                f"{split} has no image of {len(absent)} of {len(names)} classes ({some}); add some"
            )
            return error(what) if split == "train" else warning(what)
    return ok(f"{len(names)} classes, each with images in train, validation and test")


def flips(setup: Setup) -> Finding:
    """Digits and letters are not mirrored (row D11 of the lectures)."""
    if not setup.batches.augmentation.flip:
        return ok("images are not mirrored")
    if setup.dataset.flippable:
        return ok(
            f"images are mirrored, and mirrored {setup.dataset.name} are still of their class"
        )
    return warning(
        f"mirrored {setup.dataset.name} are other characters or none; give --augment.flip false"
    )
