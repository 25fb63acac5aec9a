"""One HTML file that shows how a run went: figures, curves, mistakes. No outside link, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from epochal.app.evaluation import plots
from epochal.app.evaluation.metrics import Evaluation, check_classes, frequent_mistakes
from epochal.app.evaluation.page import (
    duration,
    escaped,
    folded,
    page,
    pairs,
    percent,
    row_html,
    section_html,
    tiles,
)
from epochal.app.evaluation.sections import Section
from epochal.app.store import files as storage
from epochal.app.store.environment import Environment
from epochal.app.store.result import Result

Images = np.ndarray | Sequence[np.ndarray]

TEMPLATE = Path(__file__).with_name("report.html")
THUMBNAIL = 160  # pixels of the longer side above which an image is shrunk, to keep the file small


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
    """What a report shows; every field is a plain value, so that a notebook can make one."""

    title: str
    classes: Sequence[str]
    evaluation: Evaluation
    history: Sequence[plots.Row] = ()
    """One row an epoch, as `plots.curves_png` takes it."""
    result: Result | None = None
    """Of the run; what is not known has no tile."""
    hardest: Sequence[HardImage] = ()
    sections: Sequence[Section] = ()
    """What the callbacks found."""
    configuration: str = ""
    """The resolved configuration, as text."""
    environment: Environment | None = None


def hardest(
    evaluation: Evaluation, images_of: Callable[[np.ndarray], Images], count: int = 32
) -> list[HardImage]:
    """The `count` images with the highest loss, highest first, the earlier one first in a tie.

    `images_of(indices)` returns one uint8 [H, W, C] image for each position in the evaluated split. Raises
    ValueError when it returns another number of images or another dtype.
    """
    indices = np.argsort(-evaluation.losses, kind="stable")[: max(0, count)]
    images = images_of(indices)
    if len(images) != len(indices):
        raise ValueError(f"images_of must return {len(indices)} images, got {len(images)}.")
    return [
        HardImage(
            index=int(index),
            image=_checked(image),
            label=int(evaluation.labels[index]),
            prediction=int(evaluation.predictions[index]),
            probability=float(evaluation.confidences[index]),
            loss=float(evaluation.losses[index]),
        )
        for index, image in zip(indices, images, strict=True)
    ]


def write_report(path: Path, report: Report) -> None:
    """Writes `report` as one self-contained HTML file.

    Raises ValueError unless there is one class name a class, StorageError when the file cannot be written.
    """
    storage.write_bytes(Path(path), report_html(report).encode())


def report_html(report: Report) -> str:
    """The report as text; everything that came from outside is escaped."""
    check_classes(report.evaluation, report.classes)
    result = report.result
    facts = [f"{len(report.classes)} classes"]
    best_epoch = None
    if result is not None:
        facts = [result.dataset, result.model, *facts]
        best_epoch = result.best_epoch
    body = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        tiles=_tiles(report),
        curves="".join(
            f"<figure>{svg}</figure>" for svg in plots.curves_svg(report.history, best_epoch)
        ),
        matrix=plots.confusion_svg(report.evaluation, report.classes),
        matrix_width=min(62, max(18, 0.62 * len(report.classes))),
        mistakes=_mistakes(report),
        classes=_class_rows(report),
        hardest="".join(_card(hard, report) for hard in report.hardest),
        sections="".join(map(section_html, report.sections)),
        details=_details(report),
    )
    return page(report.title, facts, body)


def _tiles(report: Report) -> str:
    """The headline figures; what `result` lacks has no tile."""
    evaluation = report.evaluation
    low, high = evaluation.interval
    interval = f"95 % interval {percent(low)} to {percent(high)}"
    shown = [
        ("Test accuracy", percent(evaluation.accuracy, 2), interval),
        ("Test loss", f"{evaluation.loss:.4f}", f"nats, over {evaluation.count:,} images"),
    ]
    if evaluation.top5_accuracy is not None:
        shown.append(
            ("Top-5 accuracy", percent(evaluation.top5_accuracy, 2), "true class among five")
        )
    result = report.result
    if result is not None:
        shown.append(("Parameters", f"{result.params:,}", "trainable"))
        shown.append(("Epochs", str(result.epochs), "trained"))
        if result.best_epoch is not None:
            shown.append(("Best epoch", str(result.best_epoch), "whose weights are kept"))
        shown.append(("Wall time", duration(result.wall_seconds), "whole run"))
        if result.images_per_second is not None:
            speed = f"{result.images_per_second:,.0f}"
            shown.append(("Training speed", speed, "images a second"))
    return tiles(shown)


def _mistakes(report: Report) -> str:
    """Rows of the most frequent mistakes."""
    counts = report.evaluation.class_counts
    rows = [
        row_html(
            [report.classes[true], report.classes[wrong]],
            [f"{count:,}", percent(count / counts[true])],
        )
        for true, wrong, count in frequent_mistakes(report.evaluation)
    ]
    return "".join(rows) or '<tr><td colspan="4">None: every image is right.</td></tr>'


def _class_rows(report: Report) -> str:
    """Rows of the per-class table, weakest F1 first, classes without images last."""
    evaluation = report.evaluation
    return "".join(
        row_html(
            [report.classes[index]],
            [
                _bar(column[index])
                for column in (evaluation.f1, evaluation.precision, evaluation.recall)
            ]
            + [f"{evaluation.class_counts[index]:,}"],
        )
        for index in np.argsort(evaluation.f1, kind="stable")
    )


def _bar(share: float) -> str:
    """A share as text on a bar of that length."""
    return f'<span style="--share:{0 if np.isnan(share) else 100 * share:.1f}%">{percent(share)}</span>'


def _card(hard: HardImage, report: Report) -> str:
    """One of the hardest images with what it is and what the model took it for."""
    true, predicted = (escaped(report.classes[place]) for place in (hard.label, hard.prediction))
    verdict, mark = ("right", "✓") if hard.label == hard.prediction else ("wrong", "✗")
    return (
        f'<figure class="{verdict}" title="image {hard.index}: {true}, predicted {predicted}">'
        f'<img src="{_data_uri(hard.image)}" alt="test image {hard.index}: {true}">'
        f"<figcaption><b>{true}</b><span>{mark} {predicted}</span>"
        f"<small>{percent(hard.probability, 0)} · loss {hard.loss:.2f}</small></figcaption></figure>"
    )


def _data_uri(image: np.ndarray) -> str:
    """`image` (uint8 [H, W, 1 or 3]) as a PNG inside a URI, shrunk where it is large."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(
            f"images_of must return uint8 [H, W, 1 or 3] images, got {image.dtype} {image.shape}."
        )
    return image


def _details(report: Report) -> str:
    """Everything else that is known about the run, folded away."""
    figures: dict[str, Any] = {}
    if report.result is not None:
        figures.update(report.result.to_dict())
    figures.update(report.evaluation.figures.to_dict("test_"))
    environment: dict[str, Any] = {}
    if report.environment is not None:
        environment.update(report.environment.to_dict())
    figures.pop("schema", None)
    environment.pop("schema", None)
    return folded(
        [
            ("Result", pairs(figures)),
            ("Configuration", report.configuration),
            ("Environment", pairs(environment)),
        ]
    )
