"""Checks of classes and augmentation, which compute nothing."""

import numpy as np

from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.training.run.setup import Setup


def check_classes(setup: Setup) -> Finding:
    """Check that splits and model have the same classes, and every split has images of each."""
    names = setup.dataset.preprocessing.classes
    for name in names:
        if names.count(name) > 1:
            return error(f"two classes are called {name!r}; give each a name of its own")
    outputs = setup.model.output_shape[-1]
    if outputs != len(names):
        return error(f"the model has {outputs} outputs for {len(names)} classes; make them equal")
    for split in ("train", "validation", "test"):
        labels = getattr(setup.dataset, split).labels
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(names):
            return error(
                f"{split} has labels outside 0 to {len(names) - 1}, or none; look at the labels"
            )
        absent = np.setdiff1d(np.arange(len(names)), labels)
        if len(absent) == 0:
            continue
        examples = ", ".join(names[label] for label in absent[:5])
        text = (
            f"{split} has no image of {len(absent)} of {len(names)} classes ({examples}); add some"
        )
        if split == "train":
            return error(text)
        return warning(text)
    return ok(f"{len(names)} classes, each with images in train, validation and test")


def check_flips(setup: Setup) -> Finding:
    """Check that digits and letters are not mirrored, which makes other characters of them."""
    if not setup.batches.augmentation.flip:
        return ok("images are not mirrored")
    name = setup.dataset.name
    if setup.dataset.flippable:
        return ok(f"images are mirrored, and mirrored {name} are still of their class")
    return warning(f"mirrored {name} are other characters or none; give --augment.flip false")
