"""Finished runs by accuracy and cost: which of them no other run beats on its data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import EpochalError, UsageError
from epochal.app.evaluation.trained_model import build_model
from epochal.app.store.run import Run
from epochal.app.store.runs import find
from epochal.models.complexity import multiply_adds, without_values


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A finished run: its reported figures and the cost of its model for one of its images."""

    run: str
    dataset: str
    model: str
    image_size: int
    cheaper_by: str
    """Either "architecture", or "operations" where each costs less: in fewer than 32 bits."""
    multiply_adds: int
    """For one image."""
    params: int
    """Trainable parameters."""
    test_accuracy: float
    test_accuracy_low: float
    """Lower bound of the 95 % interval."""
    test_accuracy_high: float
    front: bool = False
    """Whether no run on the data set is as cheap and as accurate, and better in one of the two."""


@dataclass(frozen=True)
class Comparison:
    """Runs by data set and cost, and the reasons why others are left out, one line each."""

    runs: list[ComparedRun]
    skipped: list[str]


Point = tuple[float, float]
"""Cost and accuracy."""


def pareto_front(points: Sequence[Point]) -> list[bool]:
    """Return for each (cost, accuracy) whether no other point dominates it.

    A point is dominated by another that costs no more and is no less accurate, unless the two are
    equal.
    """
    efficient = set()
    best_accuracy = float("-inf")
    for cost, accuracy in sorted(points, key=_cost_then_accuracy):
        if accuracy > best_accuracy:
            best_accuracy = accuracy
            efficient.add((cost, accuracy))
    return [point in efficient for point in points]


def _cost_then_accuracy(point: Point) -> Point:
    """Order points by rising cost, those of equal cost by falling accuracy."""
    cost, accuracy = point
    return cost, -accuracy


def compare_runs(names: Iterable[str]) -> Comparison:
    """Read runs by folder or name; one that has not finished or cannot be read is left out.

    Raises:
        UsageError: a run does not exist, or none has finished.
    """
    costs: _Costs = {}
    runs = []
    skipped = []
    for name in dict.fromkeys(names):
        try:
            run = _find_finished(name)
            runs.append(_read_run(run, costs))
        except _Skipped as reason:
            skipped.append(str(reason))
    if not runs:
        reasons = "; ".join(skipped[:5])
        raise UsageError(f"none of these is a finished run: {reasons}")
    return Comparison(_mark_fronts(runs), skipped)


_Costs = dict[tuple[str, tuple[int, ...], int], int]
"""Multiply-adds by model, image shape and number of classes: many runs share a model."""


class _Skipped(Exception):
    """The reason why a run is left out."""


def _find_finished(name: str) -> Run:
    """Return the run; a shell's `runs/*` may also name files and folders that are no runs."""
    try:
        run = find(name)
    except UsageError:
        if not Path(name).exists():
            raise
        raise _Skipped(f"{name}: no run (a run's folder holds config.yaml)") from None
    if not run.finished:
        raise _Skipped(f"{run.folder}: not finished")
    return run


def _read_run(run: Run, costs: _Costs) -> ComparedRun:
    """Read a run's figures, and count the multiply-adds of its model unless `costs` has them."""
    try:
        config = run.config()
        result = run.result()
        preprocessing = Preprocessing.from_card(run.data_card())
        test = result.test
        if test is None:
            raise _Skipped(f"{run.folder}: only validation was evaluated, it has no test figures")
        parts = [config.model]
        for option, value in config.model_options.items():
            parts.append(value if isinstance(value, str) else f"{option} {value:g}")
        model = ", ".join(parts)
        key = (model, preprocessing.input_shape, len(preprocessing.classes))
        if key not in costs:
            network = without_values(
                partial(
                    build_model,
                    config,
                    preprocessing,
                )
            )
            costs[key] = multiply_adds(network)
        cheaper_by = "operations"
        if config.precision == "float32":
            cheaper_by = "architecture"
        return ComparedRun(
            run=str(run.folder),
            dataset=config.dataset,
            model=model,
            image_size=preprocessing.image_size,
            cheaper_by=cheaper_by,
            multiply_adds=costs[key],
            params=result.params,
            test_accuracy=test.accuracy,
            test_accuracy_low=test.accuracy_low,
            test_accuracy_high=test.accuracy_high,
        )
    except EpochalError as error:
        raise _Skipped(f"{run.folder}: {error}") from error


def _cost_accuracy_name(run: ComparedRun) -> tuple[int, float, str]:
    """Order runs by rising cost, then by falling accuracy, then by name."""
    return run.multiply_adds, -run.test_accuracy, run.run


def _mark_fronts(runs: list[ComparedRun]) -> list[ComparedRun]:
    """Sort runs by data set and cost, and mark the front of each data set.

    Accuracies on different data cannot be compared.
    """
    marked = []
    for dataset in sorted({run.dataset for run in runs}):
        group = [run for run in runs if run.dataset == dataset]
        group.sort(key=_cost_accuracy_name)
        points = [(run.multiply_adds, run.test_accuracy) for run in group]
        for run, is_efficient in zip(
            group,
            pareto_front(points),
            strict=True,
        ):
            marked.append(replace(run, front=is_efficient))
    return marked
