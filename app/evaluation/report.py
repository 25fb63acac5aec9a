"""Reports: an HTML file with a run's figures, curves and mistakes; no outside link, no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.evaluation import plots
from epochal.app.evaluation.metrics import Evaluation, check_classes, frequent_mistakes
from epochal.app.evaluation.page import (
    duration,
    name_value_lines,
    percent,
    picture_uri,
    render,
)
from epochal.app.evaluation.sections import Section
from epochal.app.store import files
from epochal.app.store.environment import Environment
from epochal.app.store.result import Result
from epochal.app.units import number_of

Images = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class HardImage:
    """An image that the model got wrong, or right with little confidence."""

    index: int
    """Position in the evaluated split."""
    image: np.ndarray
    """uint8 [H, W, C]."""
    label: int
    prediction: int
    probability: float
    """Softmax probability of the prediction."""
    loss: float
    """Cross-entropy of this image, in nats."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """The contents of a report; every field is a plain value, so that a notebook can make one."""

    title: str
    classes: Sequence[str]
    evaluation: Evaluation
    history: Sequence[plots.Row] = ()
    """One row an epoch, as `plots.curves_png` takes it."""
    result: Result | None = None
    """Of the run; what is not known has no tile."""
    hardest: Sequence[HardImage] = ()
    sections: Sequence[Section] = ()
    """Findings of the callbacks."""
    test_uses: int | None = None
    """How often the test split was evaluated by now; None where that is not counted."""
    configuration: str = ""
    """The resolved configuration, as text."""
    environment: Environment | None = None


def hardest(
    evaluation: Evaluation, images_of: Callable[[np.ndarray], Images], count: int = 32
) -> list[HardImage]:
    """Return the `count` images with the highest loss, highest first, the earlier first in a tie.

    `images_of(indices)` returns one uint8 [H, W, C] image for each position in the evaluated split.

    Raises:
        ValueError: when it returns another number of images or another dtype.
    """
    order = np.argsort(-evaluation.losses, kind="stable")
    indices = order[: max(0, count)]
    images = images_of(indices)
    if len(images) != len(indices):
        raise ValueError(f"images_of must return {len(indices)} images, got {len(images)}.")
    hard_images = []
    for index, image in zip(indices, images, strict=True):
        hard_image = HardImage(
            index=int(index),
            image=_check_image(image),
            label=int(evaluation.labels[index]),
            prediction=int(evaluation.predictions[index]),
            probability=float(evaluation.confidences[index]),
            loss=float(evaluation.losses[index]),
        )
        hard_images.append(hard_image)
    return hard_images


def write_report(path: Path, report: Report) -> None:
    """Write `report` as one self-contained HTML file.

    Raises:
        ValueError: unless there is one class name a class.
        StorageError: when the file cannot be written.
    """
    files.write_bytes(Path(path), report_html(report).encode())


def report_html(report: Report) -> str:
    """Return the report as HTML; everything that came from outside is escaped."""
    check_classes(report.evaluation, report.classes)
    result = report.result
    facts = [f"{len(report.classes)} classes"]
    best_epoch = None
    if result is not None:
        facts = [result.dataset, result.model, *facts]
        best_epoch = result.best_epoch
    return render(
        "evaluation/report.html",
        title=report.title,
        facts=facts,
        tiles=_tiles(report),
        curves=plots.curves_svg(report.history, best_epoch),
        sections=report.sections,
        matrix=plots.confusion_svg(report.evaluation, report.classes),
        matrix_width=min(62, max(18, 0.62 * len(report.classes))),
        mistakes=_mistakes(report),
        classes=_class_rows(report),
        hardest=[_hard_image(hard, report) for hard in report.hardest],
        details=_details(report),
    )


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Return name, value and unit of the headline figures; what is not known has no tile."""
    evaluation = report.evaluation
    low, high = evaluation.interval
    interval = f"95 % interval {percent(low)} to {percent(high)}"
    images = f"nats, over {evaluation.count:,} images"
    tiles = [
        ("Test accuracy", percent(evaluation.accuracy, 2), interval),
        ("Test loss", f"{evaluation.loss:.4f}", images),
    ]
    if evaluation.top5_accuracy is not None:
        top5 = percent(evaluation.top5_accuracy, 2)
        tiles.append(("Top-5 accuracy", top5, "true class among five"))
    macro_f1 = evaluation.figures.macro_f1
    if macro_f1 is not None:
        tiles.append(("Macro F1", percent(macro_f1, 2), "mean of the classes"))
    if report.test_uses is not None:
        times = number_of(report.test_uses, "time")
        tiles.append(("Test split used", times, "when this page was written"))
    result = report.result
    if result is None:
        return tiles
    tiles.append(("Parameters", f"{result.params:,}", "trainable"))
    tiles.append(("Epochs", str(result.epochs), "trained"))
    if result.best_epoch is not None:
        tiles.append(("Best epoch", str(result.best_epoch), "whose weights are kept"))
    tiles.append(("Wall time", duration(result.wall_seconds), "whole run"))
    if result.images_per_second is not None:
        speed = f"{result.images_per_second:,.0f}"
        tiles.append(("Training speed", speed, "images a second"))
    return tiles


def _mistakes(report: Report) -> list[dict[str, Any]]:
    """Return the rows of the most frequent mistakes."""
    class_counts = report.evaluation.class_counts
    rows = []
    for label, prediction, count in frequent_mistakes(report.evaluation):
        row = {
            "label": report.classes[label],
            "prediction": report.classes[prediction],
            "count": count,
            "share": count / class_counts[label],
        }
        rows.append(row)
    return rows


def _class_rows(report: Report) -> list[dict[str, Any]]:
    """Return the rows of the per-class table, weakest F1 first, classes without images last."""
    evaluation = report.evaluation
    rows = []
    for index in np.argsort(evaluation.f1, kind="stable"):
        row = {
            "name": report.classes[index],
            "f1": evaluation.f1[index],
            "precision": evaluation.precision[index],
            "recall": evaluation.recall[index],
            "count": evaluation.class_counts[index],
        }
        rows.append(row)
    return rows


def _hard_image(hard: HardImage, report: Report) -> dict[str, Any]:
    """Return a hard image with the names of its classes."""
    return {
        "index": hard.index,
        "label": report.classes[hard.label],
        "prediction": report.classes[hard.prediction],
        "right": hard.label == hard.prediction,
        "probability": hard.probability,
        "loss": hard.loss,
        "uri": picture_uri(hard.image),
    }


def _check_image(image: np.ndarray) -> np.ndarray:
    """Return the image, or raise ValueError where it cannot be shown."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(
            f"images_of must return uint8 [H, W, 1 or 3] images, got {image.dtype} {image.shape}."
        )
    return image


def _details(report: Report) -> list[tuple[str, str]]:
    """Return everything else that is known about the run, as texts with their names."""
    figures: dict[str, Any] = {}
    if report.result is not None:
        figures.update(report.result.to_dict())
    test = report.evaluation.figures
    figures.update(test.to_dict("test_"))
    environment: dict[str, Any] = {}
    if report.environment is not None:
        environment.update(report.environment.to_dict())
    figures.pop("schema", None)
    environment.pop("schema", None)
    return [
        ("Result", name_value_lines(figures)),
        ("Configuration", report.configuration),
        ("Environment", name_value_lines(environment)),
    ]
