"""Results of a run: the figures, computed once over every image, and the pages about them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from epochal.app.config import Config
from epochal.app.data.dataset import Dataset, Split
from epochal.app.data.pipeline import stored_batches
from epochal.app.evaluation.logits import predict_logits
from epochal.app.evaluation.metrics import Evaluation, evaluate_logits
from epochal.app.evaluation.plots import confusion_png, curves_png
from epochal.app.evaluation.report import Report, hardest, write_report
from epochal.app.evaluation.sections import sections_of
from epochal.app.evaluation.split_uses import count_test_use
from epochal.app.evaluation.views import Views, views_for
from epochal.app.store.result import Result
from epochal.app.store.run import Run, dump
from epochal.models.complexity import trainable_params
from epochal.models.feature_reuse import feature_reuse


@dataclass(frozen=True, kw_only=True)
class Training:
    """The record of a training that has ended."""

    config: Config
    rows: list[dict[str, Any]]
    best_epoch: int | None
    seconds: float
    rollbacks: int = 0


def evaluate_split(model: Any, split: Split, views: Views) -> tuple[np.ndarray, Evaluation]:
    """Return the logits of every image of the split, in order, and the figures of them."""
    batches = stored_batches(split, views.shape, len(views.windows))
    logits, labels = predict_logits(model, batches, views)
    return logits, evaluate_logits(logits, labels)


def report_results(
    run: Run, model: Any, dataset: Dataset, training: Training, *, test: bool = True
) -> Result:
    """Evaluate the model, write plots and the report, and last the result.

    The result makes the run a finished one. Without `test` the test split is left alone, and there
    are no pages, which would show its figures.
    """
    splits = {"validation": dataset.validation}
    if test:
        splits["test"] = dataset.test
    views = views_for(
        training.config,
        dataset.preprocessing,
        flippable=dataset.flippable,
    )
    evaluations = {}
    for name, split in splits.items():
        _, evaluations[name] = evaluate_split(model, split, views)
    result = _result(model, training, evaluations)
    if test:
        blocks = feature_reuse(model)
        if blocks:
            run.write_feature_reuse([asdict(block) for block in blocks])
        _write_pages(run, dataset, training, evaluations["test"], result)
    run.write_result(result)
    return result


def _write_pages(
    run: Run, dataset: Dataset, training: Training, test: Evaluation, result: Result
) -> None:
    """Write curves and confusion matrix as PNG files, and the report with everything."""

    def read_images(indices: np.ndarray) -> np.ndarray:
        images = dataset.test.subset(indices).read()
        return images.numpy()

    curves_png(run.curves_plot, training.rows, training.best_epoch)
    confusion_png(run.confusion_plot, test, dataset.preprocessing.classes)
    report = Report(
        title=run.folder.name,
        classes=dataset.preprocessing.classes,
        evaluation=test,
        history=training.rows,
        result=result,
        hardest=hardest(test, read_images),
        sections=sections_of(run),
        test_uses=count_test_use(run),
        configuration=dump(training.config.to_dict()),
        environment=run.environment(),
    )
    write_report(run.report, report)


def _result(model: Any, training: Training, evaluations: dict[str, Evaluation]) -> Result:
    """Return the figures of the model and of its training, as `result.json` stores them."""
    config = training.config
    speeds = []
    for row in training.rows:
        if row.get("images_per_second"):
            speeds.append(row["images_per_second"])
    images_per_second = None
    if speeds:
        median = float(np.median(speeds))
        images_per_second = round(median, 1)
    last_learning_rate = None
    if training.rows:
        last_learning_rate = training.rows[-1].get("learning_rate")
    test = None
    if "test" in evaluations:
        test = evaluations["test"].figures
    return Result(
        dataset=config.dataset,
        model=config.model,
        params=trainable_params(model),
        seed=config.seed,
        epochs=len(training.rows),
        best_epoch=training.best_epoch,
        rollbacks=training.rollbacks,
        last_learning_rate=last_learning_rate,
        validation=evaluations["validation"].figures,
        test=test,
        images_per_second=images_per_second,
        wall_seconds=round(training.seconds, 2),
    )
