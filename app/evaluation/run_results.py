"""Results of a run: the reported figures, computed once over every image, and the pages about them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from epochal.app.config import Config
from epochal.app.data.dataset import Dataset, Split
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.data.preprocessing import ImageShape
from epochal.app.evaluation.logits import predict_logits
from epochal.app.evaluation.metrics import Evaluation, evaluate_logits
from epochal.app.evaluation.plots import confusion_png, curves_png
from epochal.app.evaluation.report import Report, hardest, write_report
from epochal.app.evaluation.sections import sections_of
from epochal.app.store.result import Result
from epochal.app.store.run import Run, dump
from epochal.models.feature_reuse import feature_reuse


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is known of the training when it ended."""

    config: Config
    rows: list[dict[str, Any]]
    best_epoch: int | None
    seconds: float
    rollbacks: int = 0


def evaluate_split(model: Any, split: Split, shape: ImageShape) -> tuple[np.ndarray, Evaluation]:
    """Logits of every image of the split, in order, and the figures computed from them."""
    logits, labels = predict_logits(model, evaluation_batches(split, shape))
    return logits, evaluate_logits(logits, labels)


def report_results(
    run: Run, model: Any, dataset: Dataset, training: Training, *, test: bool = True
) -> Result:
    """Evaluate the model, write plots and the report, and last the result, which makes the run a finished one.

    Without `test` the test split is left alone, and there are no pages, which would show its figures.
    """
    splits = {"validation": dataset.validation}
    if test:
        splits["test"] = dataset.test
    evaluations = {}
    for name, split in splits.items():
        _, evaluations[name] = evaluate_split(model, split, dataset.preprocessing)
    result = _result(model, training, evaluations)
    if test:
        blocks = feature_reuse(model)
        if blocks:
            run.write_feature_reuse([asdict(block) for block in blocks])
        _write_pages(
            run,
            dataset,
            training,
            evaluations["test"],
            result,
        )
    run.write_result(result)
    return result


def _write_pages(
    run: Run, dataset: Dataset, training: Training, test: Evaluation, result: Result
) -> None:
    curves_png(run.curves_plot, training.rows, training.best_epoch)
    confusion_png(run.confusion_plot, test, dataset.preprocessing.classes)
    report = Report(
        title=f"{run.folder.name}",
        classes=dataset.preprocessing.classes,
        evaluation=test,
        history=training.rows,
        result=result,
        hardest=hardest(test, _images_of(dataset.test)),
        sections=sections_of(run),
        configuration=dump(training.config.to_dict()),
        environment=run.environment(),
    )
    write_report(run.report, report)


def _result(model: Any, training: Training, evaluations: dict[str, Evaluation]) -> Result:
    config = training.config
    params = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    speeds = [row["images_per_second"] for row in training.rows if row.get("images_per_second")]
    images_per_second = None
    if speeds:
        images_per_second = round(float(np.median(speeds)), 1)
    last_learning_rate = None
    if training.rows:
        last_learning_rate = training.rows[-1].get("learning_rate")
    test = None
    if "test" in evaluations:
        test = evaluations["test"].figures
    return Result(
        dataset=config.dataset,
        model=config.model,
        params=params,
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


def _images_of(split: Split) -> Callable[[np.ndarray], np.ndarray]:
    return lambda chosen: split.subset(chosen).read().numpy()
