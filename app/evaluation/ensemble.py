"""Ensembles: the probabilities of several runs averaged, beside the figures of each of them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax, logsumexp

from epochal.app.config import Config, ViewsName
from epochal.app.data.availability import check_images
from epochal.app.data.dataset import CachedImages, Dataset, Split
from epochal.app.data.load import load, read_splits
from epochal.app.data.same_files import check_same_data, describe_changes
from epochal.app.errors import UsageError
from epochal.app.evaluation.metrics import evaluate_logits
from epochal.app.evaluation.run_results import evaluate_split
from epochal.app.evaluation.split_uses import count_test_use
from epochal.app.evaluation.trained_model import load_trained, with_views
from epochal.app.store.result import Figures
from epochal.app.store.run import Run
from epochal.app.units import number_of

AVERAGE = "average"
_BLOCK = 256  # images


@dataclass(frozen=True, kw_only=True)
class EnsembleFigures:
    """Figures of several runs and of their average over the same images.

    Attributes:
        members: by split and run's folder; the last of each split is `AVERAGE`.
        test_uses: how often each run's test split was evaluated by now, by the run's folder; only
            what is counted.
    """

    members: dict[str, dict[str, Figures]]
    test_uses: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: figures by run, named as in a run's result."""
        values: dict[str, Any] = {}
        for split, figures in self.members.items():
            for name, of_member in figures.items():
                values.setdefault(name, {}).update(of_member.to_dict(f"{split}_"))
        for name, uses in self.test_uses.items():
            values[name]["test_uses"] = uses
        return values


@dataclass(frozen=True, kw_only=True)
class EvaluatedImages:
    """What must be the same of the images on which several runs are evaluated.

    Attributes:
        run: whose images they are.
        seed: of the run.
        classes: names, in the order of the labels.
        labels: int `[N]`.
        indices: in the store of the data set, int `[N]`.
        files: digests of the data set's files by path; none where it has no files of its own.
        pixels: sizes and a digest of the images, where they are in memory.
    """

    run: Run
    seed: int
    classes: tuple[str, ...]
    labels: np.ndarray
    indices: np.ndarray
    files: Mapping[str, str]
    pixels: tuple[tuple[int, ...], str] | None

    @classmethod
    def of(cls, run: Run, dataset: Dataset, seed: int) -> "EvaluatedImages":
        """Describe the test split of a run."""
        return cls(
            run=run,
            seed=seed,
            classes=dataset.preprocessing.classes,
            labels=dataset.test.labels,
            indices=dataset.test.indices,
            files=dataset.digests,
            pixels=_digest_of_pixels(dataset.test),
        )

    def check_same(self, other: "EvaluatedImages") -> None:
        """Refuse another run that was not tested on these images.

        Raises:
            UsageError: saying what differs.
        """
        pair = f"{self.run.folder} and {other.run.folder}"
        check_same_classes(self.run, self.classes, other.run, other.classes)
        is_same_cut = np.array_equal(self.indices, other.indices) and np.array_equal(
            self.labels, other.labels
        )
        if not is_same_cut:
            reason = ""
            if self.seed != other.seed:
                reason = f" (their seeds {self.seed} and {other.seed} cut it off differently)"
            raise UsageError(
                f"{pair} have other test images{reason}; evaluate them with --dataset FOLDER on "
                "the same ones, or train with one seed and --data.split bootstrap:K/1, K/2 ..."
            )
        if dict(self.files) != dict(other.files):
            changes = describe_changes(self.files, other.files)
            raise UsageError(
                f"{pair} were trained on other files{changes}; evaluate them with --dataset FOLDER"
            )
        if self.pixels is None or other.pixels is None:
            return
        is_same_size = self.pixels[0] == other.pixels[0]
        if is_same_size and self.pixels != other.pixels:
            raise UsageError(
                f"{pair} have test images with other pixels; evaluate them with --dataset FOLDER"
            )


def check_same_classes(
    first: Run, classes: Sequence[str], second: Run, other_classes: Sequence[str]
) -> None:
    """Refuse runs with other classes, or the same in another order.

    Raises:
        UsageError: naming the first class that differs.
    """
    if tuple(classes) == tuple(other_classes):
        return
    pair = f"{first.folder} and {second.folder}"
    if len(classes) != len(other_classes):
        raise UsageError(
            f"{pair} have {len(classes)} and {len(other_classes)} classes; "
            "give runs with the same classes"
        )
    for name, other in zip(classes, other_classes, strict=True):
        if name != other:
            raise UsageError(
                f"{pair} have other classes: {name!r} in place of {other!r}; "
                "give runs with the same classes"
            )


def check_different(runs: Sequence[Run]) -> None:
    """Refuse a run that is given twice: it would weigh double.

    Raises:
        UsageError: naming it.
    """
    seen: set[Path] = set()
    for run in runs:
        place = run.folder.resolve()
        if place in seen:
            raise UsageError(f"{run.folder} is given twice; give each run once")
        seen.add(place)


def average_logits(logits: Sequence[np.ndarray]) -> np.ndarray:
    """Return logits, float64 `[N, C]`, whose softmax is the mean of those of the members' logits.

    The mean cross-entropy is at most that of the members, for the logarithm is concave
    (Krogh and Vedelsby 1995, "Neural network ensembles, cross validation, and active learning",
    for the squared error).
    """
    log_probabilities = [log_softmax(member.astype(np.float64), axis=-1) for member in logits]
    summed: np.ndarray = logsumexp(np.stack(log_probabilities), axis=0)
    return summed - np.log(len(logits))


def evaluate_runs(
    runs: Sequence[Run],
    views: ViewsName | None = None,
    *,
    load: Callable[[Config], Dataset] = load,
) -> EnsembleFigures:
    """Return test figures of finished runs and of their average, one model in memory at a time.

    Args:
        runs: finished ones.
        views: of each image (None: each run's own).
        load: reads the data set of a configuration.

    Raises:
        UsageError: a run has not finished or its data has changed; two runs have other classes or
            other test images, or are the same.
    """
    check_different(runs)
    first: EvaluatedImages | None = None
    logits: dict[str, np.ndarray] = {}
    for run in runs:
        trained = with_views(load_trained(run), views)
        dataset = load(trained.config)
        check_same_data(dataset, run.data_card().fingerprint, run)
        images = EvaluatedImages.of(run, dataset, trained.config.seed)
        first = first or images
        first.check_same(images)
        logits[str(run.folder)], _ = evaluate_split(
            trained.model,
            dataset.test,
            trained.views,
        )
    assert first is not None
    test_uses = {}
    for run in runs:
        uses = count_test_use(run)
        if uses is not None:
            test_uses[str(run.folder)] = uses
    members = {"test": _figures(logits, first.labels)}
    return EnsembleFigures(members=members, test_uses=test_uses)


def evaluate_runs_on_folder(
    runs: Sequence[Run], folder: str, views: ViewsName | None = None
) -> EnsembleFigures:
    """Return figures of runs and of their average over another folder of images, by its splits.

    Raises:
        UsageError: as `evaluate_runs`; or the folder cannot be read or has other classes.
    """
    check_different(runs)
    check_images(folder)
    logits: dict[str, dict[str, np.ndarray]] = {}
    labels: dict[str, np.ndarray] = {}
    classes: tuple[str, ...] | None = None
    for run in runs:
        trained = with_views(load_trained(run), views)
        preprocessing = trained.preprocessing
        classes = classes or preprocessing.classes
        check_same_classes(runs[0], classes, run, preprocessing.classes)
        config = replace(trained.config, dataset=folder)
        splits = read_splits(config, preprocessing.classes, preprocessing)
        for name, split in splits.items():
            by_run = logits.setdefault(name, {})
            by_run[str(run.folder)], _ = evaluate_split(
                trained.model,
                split,
                trained.views,
            )
            labels[name] = split.labels
    members = {name: _figures(by_run, labels[name]) for name, by_run in logits.items()}
    return EnsembleFigures(members=members)


def format_table(figures: EnsembleFigures) -> str:
    """Return a line for each run and split, the average last."""
    lines = []
    for split, members in figures.members.items():
        width = max(len(name) for name in members)
        head = f"{split:{width}} {'images':>8} {'accuracy':>9} {'95 % interval':>17}"
        head += f" {'loss':>8} {'macro F1':>9}"
        if figures.test_uses:
            head += "  test split used"
        lines.append(head)
        for name, of_member in members.items():
            interval = f"{of_member.accuracy_low:.4f} to {of_member.accuracy_high:.4f}"
            line = f"{name:{width}} {of_member.count:8,} {of_member.accuracy:9.4f} {interval:>17}"
            line += f" {of_member.loss:8.4f} {of_member.macro_f1:9.4f}"
            uses = figures.test_uses.get(name)
            if uses is not None:
                line += f"  {number_of(uses, 'time')}"
            lines.append(line)
    return "\n".join(lines)


def _figures(logits: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, Figures]:
    figures = {}
    for name, of_member in logits.items():
        figures[name] = evaluate_logits(of_member, labels).figures
    average = average_logits(list(logits.values()))
    figures[AVERAGE] = evaluate_logits(average, labels).figures
    return figures


def _digest_of_pixels(split: Split) -> tuple[tuple[int, ...], str] | None:
    images = split.images
    if not isinstance(images, CachedImages):
        return None
    digest = hashlib.sha256()
    for start in range(0, len(split), _BLOCK):
        indices = tf.constant(split.indices[start : start + _BLOCK])
        digest.update(images.read(indices).numpy().tobytes())
    return tuple(images.tensor.shape[1:]), digest.hexdigest()
