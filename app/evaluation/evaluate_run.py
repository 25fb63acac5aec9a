"""Figures of a finished run, computed again from its published weights and its data."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from epochal.app.config import Config, ViewsName
from epochal.app.data.availability import check_images
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load, read_splits
from epochal.app.data.same_files import check_same_data
from epochal.app.evaluation.run_results import evaluate_split
from epochal.app.evaluation.split_uses import count_test_use
from epochal.app.evaluation.trained_model import load_trained, with_views
from epochal.app.store.run import Run


def evaluate_run(
    run: Run,
    views: ViewsName | None = None,
    *,
    load: Callable[[Config], Dataset] = load,
) -> dict[str, Any]:
    """Return validation and test figures, named as in result.json, and how often test was used.

    Args:
        run: a finished one.
        views: of each image (None: the run's own).
        load: reads the data set of a configuration.

    Raises:
        UsageError: when the run has not finished or its data is not the data it was trained on.
    """
    trained = with_views(load_trained(run), views)
    dataset = load(trained.config)
    check_same_data(dataset, run.data_card().fingerprint, run)
    _, validation = evaluate_split(
        trained.model,
        dataset.validation,
        trained.views,
    )
    _, test = evaluate_split(trained.model, dataset.test, trained.views)
    figures: dict[str, Any] = {}
    figures.update(validation.figures.to_dict("validation_"))
    figures.update(test.figures.to_dict("test_"))
    uses = count_test_use(run)
    if uses is not None:
        figures["test_uses"] = uses
    return figures


def evaluate_folder(run: Run, folder: str, views: ViewsName | None = None) -> dict[str, Any]:
    """Return figures of other images with classes of the run: of a folder, a table or shards.

    Their names begin with the split, or with "all" where there are no splits.

    Raises:
        UsageError: the run has not finished; the images cannot be read or have other classes.
    """
    check_images(folder)
    trained = with_views(load_trained(run), views)
    preprocessing = trained.preprocessing
    config = replace(trained.config, dataset=folder)
    splits = read_splits(config, preprocessing.classes, preprocessing)
    figures: dict[str, Any] = {}
    for name, split in splits.items():
        _, evaluation = evaluate_split(
            trained.model,
            split,
            trained.views,
        )
        figures.update(evaluation.figures.to_dict(f"{name}_"))
    return figures
