"""Audits: what is wrong with a data set, from one look at each of its images."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from epochal.app.characters import look_alike_key
from epochal.app.config import Config
from epochal.app.data.audit.copies import find_copies, group
from epochal.app.data.audit.labels import ImageRecord, mean_margins, suspicion
from epochal.app.data.audit.survey import Survey
from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.splits import NAMES, make_splits
from epochal.app.errors import UsageError

_SAME_SIZE = 0.9  # of the images; if so many have one size, the others are odd
_ODD = 5.0  # robust deviations of the logarithm of area or aspect ratio
_LEAST_DEVIATION = 0.1  # of a logarithm: sizes that differ by less are alike
_NO_SPLIT = "-"  # of an image that a configuration leaves out

# Told of a long part of the work: its name, how many steps are done, and of how many.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Images that show the same.

    Attributes:
        exact: places of images with equal pixels, a tuple each.
        same_bytes: of `exact`, whether the files are equal, too.
        near: pairs of places, int `[P, 2]`, of images that are not equal but nearly so; of equal
            ones only the first is compared.
        differences: of these pairs, as `alignment.differences` defines it.
        groups: number of the group of each image, int `[N]`: copies are in one.
    """

    exact: tuple[tuple[int, ...], ...]
    same_bytes: tuple[bool, ...]
    near: np.ndarray
    differences: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An image whose label is likely wrong, by how it fared in a run.

    Attributes:
        place: of the image.
        suspicion: from 0 to 1.
        margin: mean over epochs of the label's logit less the largest other one.
        loss: mean cross-entropy over epochs, in nats.
        forgotten: how often it was wrong after it had been right.
        was_learned: whether it was right in any epoch.
    """

    place: int
    suspicion: float
    margin: float
    loss: float
    forgotten: int
    was_learned: bool


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found in a data set; places are of images in the survey.

    Attributes:
        name: of the data set.
        survey: its images.
        assigned: the split in which training puts each image, or "-".
        split_fault: why it cannot be split, or an empty text.
        odd: places of images whose size or shape is unlike that of the others.
        alike_classes: names that people can hardly tell apart, a tuple each.
        copies: images that show the same.
        suspects: the most suspicious first; None without a run.
    """

    name: str
    survey: Survey
    assigned: tuple[str, ...]
    split_fault: str
    odd: tuple[int, ...]
    alike_classes: tuple[tuple[str, ...], ...]
    copies: Copies
    suspects: tuple[Suspect, ...] | None = None

    def class_of(self, place: int) -> str:
        """Return the name of an image's class."""
        return self.survey.classes[self.survey.labels[place]]

    def counts(self) -> dict[str, Counter[str]]:
        """Return the number of images of each class in each split."""
        counts = {name: Counter[str]() for name in self.survey.classes}
        for place, split in enumerate(self.assigned):
            counts[self.class_of(place)][split] += 1
        return counts

    def splits(self) -> list[str]:
        """Return the splits that have images, in their usual order."""
        present = set(self.assigned)
        usual = [name for name in NAMES if name in present]
        return usual + sorted(present - set(usual))

    def is_across(self, places: Sequence[int]) -> bool:
        """Tell whether images lie in several splits."""
        return len({self.assigned[place] for place in places} - {_NO_SPLIT}) > 1

    def copy_groups(self) -> list[tuple[int, ...]]:
        """Return the groups of images that show the same, exactly or nearly."""
        members: dict[int, list[int]] = {}
        for place, number in enumerate(self.copies.groups.tolist()):
            members.setdefault(number, []).append(place)
        return [tuple(places) for places in members.values() if len(places) > 1]


def audit(
    config: Config,
    survey: Survey,
    record: ImageRecord | None = None,
    progress: Progress = lambda part, done, steps: None,
) -> Audit:
    """Return what is wrong with a data set.

    Args:
        config: says how it is split.
        survey: of its images.
        record: of a run on it; tells the suspects.
        progress: told of the search for near duplicates.

    Raises:
        UsageError: the record is of other images.
    """
    copies = _find_copies(survey, progress)
    splits, fault = _splits_of(config, survey, copies)
    assigned = [_NO_SPLIT for _ in survey.names]
    for name, places in splits.items():
        for place in places:
            assigned[place] = name
    suspects = None
    if record is not None:
        suspects = _suspects(survey, splits["train"], record)
    return Audit(
        name=config.dataset,
        survey=survey,
        assigned=tuple(assigned),
        split_fault=fault,
        odd=odd_sizes(survey),
        alike_classes=alike_names(survey.classes),
        copies=copies,
        suspects=suspects,
    )


def alike_names(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return names that differ by case, spaces, joiners or Unicode form alone, a tuple each."""
    by_key: dict[str, list[str]] = {}
    for name in names:
        key = "".join(look_alike_key(name).split())
        by_key.setdefault(key, []).append(name)
    return tuple(tuple(alike) for alike in by_key.values() if len(alike) > 1)


def odd_sizes(survey: Survey) -> tuple[int, ...]:
    """Return the places of images whose area or shape is unlike that of the others.

    Where nine of ten have one size, those with another; else those whose logarithm of area or
    aspect ratio lies five robust deviations from the median.
    """
    if not survey.looks:
        return ()
    heights = np.array([look.height for look in survey.looks])
    widths = np.array([look.width for look in survey.looks])
    sizes = Counter(zip(heights.tolist(), widths.tolist(), strict=True))
    (height, width), count = sizes.most_common(1)[0]
    if count >= _SAME_SIZE * len(heights):
        is_odd = (heights != height) | (widths != width)
    else:
        is_far = _is_far(np.log(heights * widths))
        is_odd = is_far | _is_far(np.log(heights / widths))
    return tuple(np.flatnonzero(is_odd).tolist())


def _is_far(values: np.ndarray) -> np.ndarray:
    distances = np.abs(values - np.median(values))
    deviation = max(1.4826 * float(np.median(distances)), _LEAST_DEVIATION)
    return distances > _ODD * deviation


def _find_copies(survey: Survey, progress: Progress) -> Copies:
    by_pixels: dict[str, list[int]] = {}
    for place, look in enumerate(survey.looks):
        by_pixels.setdefault(look.pixels_digest, []).append(place)
    exact = tuple(tuple(places) for places in by_pixels.values() if len(places) > 1)
    same_bytes = []
    for places in exact:
        digests = {survey.looks[place].bytes_digest for place in places}
        same_bytes.append(len(digests) == 1)
    first = np.array([places[0] for places in by_pixels.values()], np.int64)
    pairs, differences = find_copies(
        survey.pictures[first],
        lambda done, steps: progress("near duplicates", done, steps),
    )
    near = first[pairs].reshape(-1, 2)
    edges = [near]
    for places in exact:
        edges.append(np.array([(places[0], other) for other in places[1:]]))
    return Copies(
        exact=exact,
        same_bytes=tuple(same_bytes),
        near=near,
        differences=differences,
        groups=group(np.concatenate(edges), len(survey.looks)),
    )


def _splits_of(config: Config, survey: Survey, copies: Copies) -> tuple[dict[str, np.ndarray], str]:
    """Return the places of each split's images, and why the data set cannot be split, if so."""
    nothing = CachedImages(tf.zeros([0], tf.uint8))
    given = {}
    places = {}
    for number, name in enumerate(survey.splits):
        places[name] = np.flatnonzero(survey.split == number)
        labels = survey.labels[places[name]].astype(np.int32)
        given[name] = Split(nothing, np.arange(len(labels)), labels)
    pool = "train" if "train" in given else survey.splits[0]
    groups = None
    if config.data.near_duplicates == "keep-together":
        groups = copies.groups[places[pool]]
    try:
        splits, _ = make_splits(given, survey.classes, config, groups)
    except UsageError as error:
        return places, str(error)
    assigned = {}
    for name, split in splits.items():
        store = name if name in given else pool
        if name == "validation" and config.data.split is not None:
            store = pool
        assigned[name] = places[store][split.indices]
    return assigned, ""


def _suspects(survey: Survey, places: np.ndarray, record: ImageRecord) -> tuple[Suspect, ...]:
    """Return the training images whose label had less than another on average over the epochs."""
    labels = survey.labels[places]
    is_same = len(labels) == len(record.labels) and np.array_equal(labels, record.labels)
    if not is_same or not np.array_equal(survey.index[places], record.indices):
        raise UsageError(
            f"the run recorded {len(record.labels):,} training images, which are not the "
            f"{len(labels):,} of this data set; give the data set that it was trained on"
        )
    margins = mean_margins(record)
    scores = suspicion(record)
    epochs = np.maximum(record.epochs, 1)
    suspects = []
    seen = set()
    for row in np.argsort(-scores, kind="stable").tolist():
        place = int(places[row])
        if margins[row] >= 0 or record.epochs[row] == 0 or place in seen:
            continue
        seen.add(place)
        suspects.append(
            Suspect(
                place=place,
                suspicion=float(scores[row]),
                margin=float(margins[row]),
                loss=float(record.losses[row] / epochs[row]),
                forgotten=int(record.forgotten[row]),
                was_learned=bool(record.right[row] > 0),
            )
        )
    return tuple(suspects)
