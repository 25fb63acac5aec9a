"""Finished runs by accuracy and cost: which of them no other run beats on its data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from epochal.app.config import Config
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import EpochalError, UsageError
from epochal.app.evaluation.trained_model import build_model
from epochal.app.store import run as runs
from epochal.app.store.run import Run
from epochal.models.complexity import multiply_adds, without_values


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A finished run: its reported figures and what its model costs on its own images."""

    run: str
    dataset: str
    model: str
    image_size: int
    cheaper_by: str  # "architecture" or, where it computes in less than 32 bits, "operations": they cost less each
    multiply_adds: int  # for one image
    params: int  # trainable
    test_accuracy: float
    test_accuracy_low: float  # of the 95 % interval
    test_accuracy_high: float
    front: bool = False  # no other run on the data set is as cheap and as accurate, and better in one of the two


@dataclass(frozen=True)
class Placement:
    """Runs by data set and cost, and why others are not among them, one line each."""

    placed: list[Placed]
    skipped: list[str]


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (cost, accuracy) whether no other point dominates it.

    A point dominates another that costs no less and is no more accurate, unless the two are equal.
    """
    best = float("-inf")
    efficient = set()
    for cost, accuracy in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if accuracy > best:
            best = accuracy
            efficient.add((cost, accuracy))
    return [point in efficient for point in points]


def place(wheres: Iterable[str]) -> Placement:
    """Reads every run; one that has not finished or cannot be read is left out with its reason.

    Raises:
        UsageError: a run does not exist, or none has finished.
    """
    costs: dict[Any, int] = {}
    placed = []
    skipped = []
    for where in dict.fromkeys(wheres):
        try:
            placed.append(_placed(_run(where), costs))
        except _Skipped as reason:
            skipped.append(str(reason))
    if not placed:
        raise UsageError(f"none of these is a finished run: {'; '.join(skipped[:5])}")
    return Placement(_with_fronts(placed), skipped)


class _Skipped(Exception):
    """Why a run is left out."""


def _run(where: str) -> Run:
    """A shell's `runs/*` may name things that are no runs, but everything that it names exists."""
    try:
        run = runs.find(where)
    except UsageError:
        if not Path(where).exists():
            raise
        raise _Skipped(f"{where}: no run (a run's folder holds config.yaml)") from None
    if not run.finished:
        raise _Skipped(f"{run.folder}: not finished")
    return run


def _placed(run: Run, costs: dict[Any, int]) -> Placed:
    """`costs` of what has been built already: many runs share a model."""
    try:
        config = run.config()
        result = run.result()
        preprocessing = Preprocessing.from_card(run.data_card())
        test = result.test
        if test is None:
            raise _Skipped(f"{run.folder}: only validation was evaluated, it has no test figures")
        return Placed(
            run=str(run.folder),
            dataset=config.dataset,
            model=_model(config),
            image_size=preprocessing.image_size,
            cheaper_by="architecture" if config.precision == "float32" else "operations",
            multiply_adds=_cost(config, preprocessing, costs),
            params=result.params,
            test_accuracy=test.accuracy,
            test_accuracy_low=test.accuracy_low,
            test_accuracy_high=test.accuracy_high,
        )
    except EpochalError as error:
        raise _Skipped(f"{run.folder}: {error}") from error


def _cost(config: Config, preprocessing: Preprocessing, costs: dict[Any, int]) -> int:
    """Return the multiply-adds of a run's model for one image; `costs` keeps those of earlier calls."""
    key = (_model(config), preprocessing.input_shape, len(preprocessing.classes))
    if key not in costs:
        model = without_values(partial(build_model, config, preprocessing))
        costs[key] = multiply_adds(model)
    return costs[key]


def _model(config: Config) -> str:
    """Return the model's name and its options."""
    return ", ".join([config.model, *config.model_options.values()])


def _with_fronts(placed: list[Placed]) -> list[Placed]:
    """Sort runs by data set and cost, and mark the front of each data set.

    Accuracies on different data cannot be compared.
    """
    marked = []
    for dataset in sorted({run.dataset for run in placed}):
        group = [run for run in placed if run.dataset == dataset]
        group.sort(key=lambda run: (run.multiply_adds, -run.test_accuracy, run.run))
        points = [(run.multiply_adds, run.test_accuracy) for run in group]
        for run, mark in zip(group, front(points), strict=True):
            marked.append(replace(run, front=mark))
    return marked
