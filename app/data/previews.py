"""Previews of training images: what the network will see of each, before and after augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from epochal.app.data.pipeline import TrainingBatches


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """A training image before and after augmentation.

    Attributes:
        before: as evaluation would see it, uint8 `[s, s, C]`.
        after: as the network sees it, uint8 `[s, s, C]`.
        label: name of its class; of a mixed image both names and their shares.
        draws: what was drawn for it, in words.
    """

    before: np.ndarray
    after: np.ndarray
    label: str
    draws: tuple[str, ...]


def previews(batches: TrainingBatches, classes: Sequence[str], count: int) -> list[Preview]:
    """Return the first `count` images of the first epoch, at most all, as training gets them."""
    shown: list[Preview] = []
    step = 0
    count = min(count, len(batches.split))
    while len(shown) < count:
        batch = batches.batch(0, step)
        stored = batches.split.images.read(batch["indices"])
        unchanged = batches.augmentation.centre(stored).numpy()
        told = batches.augmentation.told(batches.draws_of(0, step))
        for number, image in enumerate(batch["images"][: count - len(shown)]):
            preview = Preview(
                before=unchanged[number],
                after=image,
                label=_label(batch["labels"][number], classes),
                draws=tuple(told[number]),
            )
            shown.append(preview)
        step += 1
    batches.position.set(0)
    return shown


def _label(label: np.ndarray, classes: Sequence[str]) -> str:
    """Return the name of a label, of `mixed_labels` both names with their shares."""
    if label.ndim == 0:
        return classes[int(label)]
    number, partner, share = label
    name = classes[int(number)]
    other = classes[int(partner)]
    if name == other:
        return name
    return f"{share:.0%} {name}, {1 - share:.0%} {other}"
