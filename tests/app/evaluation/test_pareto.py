"""The front against its definition, and runs that are placed, left out or refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.evaluation.pareto import compare_runs, pareto_front
from epochal.app.store.run import Run
from epochal.app.store.runs import claim
from tests.support.records import make_data_card, make_figures, make_result

CLASSES = ("a", "b", "c")
# Few values, so that many are equal.
points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)))


def dominates(point: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether a point is nowhere worse and somewhere better than another."""
    cost, accuracy = point
    other_cost, other_accuracy = other
    return cost <= other_cost and accuracy >= other_accuracy and point != other


@given(points)
def test_the_front_is_what_no_other_point_dominates(points: list[tuple[int, int]]) -> None:
    expected = []
    for point in points:
        is_dominated = any(dominates(other, point) for other in points)
        expected.append(not is_dominated)
    assert pareto_front(points) == expected


@given(points)
def test_the_front_only_knows_order(points: list[tuple[int, int]]) -> None:
    stretched = [(10.0**cost, accuracy**3 - 7) for cost, accuracy in points]
    assert pareto_front(stretched) == pareto_front(points)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def finished(
    name: str,
    model: str,
    accuracy: float,
    *,
    size: int = 8,
    dataset: str = "digits",
    **options: str,
) -> Run:
    """A run's folder as training leaves it, without its checkpoints."""
    run = claim(name)
    run.write_config(Config(dataset=dataset, model=model, **options))
    run.write_data_card(make_data_card(classes=CLASSES, stored_size=size, image_size=size))
    figures = make_figures(accuracy, accuracy_low=0.0, accuracy_high=1.0)
    run.write_result(make_result(params=1, test=figures))
    return run


def test_runs_are_placed_by_cost_at_their_own_images() -> None:
    finished("large", "softmax", 0.5, size=16)
    finished("small", "softmax", 0.5)
    finished("mlp", "mlp", 0.9)
    runs = compare_runs(["runs/large", "mlp", "small", "mlp"]).runs
    assert [(run.run, run.multiply_adds) for run in runs] == [
        ("runs/small", 8 * 8 * 3),
        ("runs/large", 16 * 16 * 3),
        ("runs/mlp", 8 * 8 * 256 + 256 * 128 + 128 * 3),
    ]
    assert [run.front for run in runs] == [True, False, True]


def test_narrow_numbers_make_operations_cheaper_not_fewer() -> None:
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        finished(precision, "softmax", 0.5, precision=precision)
    runs = compare_runs(["float32", "mixed_bfloat16", "mixed_float16"]).runs
    assert {Path(run.run).name: run.cheaper_by for run in runs} == {
        "float32": "architecture",
        "mixed_bfloat16": "operations",
        "mixed_float16": "operations",
    }
    assert len({run.multiply_adds for run in runs}) == 1


def test_each_data_set_has_its_own_front() -> None:
    finished("a", "softmax", 0.9, dataset="mnist")
    finished("b", "softmax", 0.1, size=16)
    runs = compare_runs(["a", "b"]).runs
    assert [(run.dataset, run.front) for run in runs] == [("digits", True), ("mnist", True)]


def test_options_of_the_model_count() -> None:
    finished("plain", "lenet5", 0.9, size=28)
    finished("maxout", "lenet5", 0.9, size=28, activation="maxout")
    plain, maxout = compare_runs(["plain", "maxout"]).runs
    assert (plain.model, maxout.model) == ("lenet5", "lenet5, maxout")
    convolutions = 28 * 28 * 25 * 6 * 2 + 10 * 10 * 25 * 6 * 32  # two pieces each
    assert maxout.multiply_adds == convolutions + 400 * 240 + 120 * 168 + 84 * 3
    assert plain.multiply_adds < maxout.multiply_adds


def test_what_is_no_finished_run_is_left_out_by_name() -> None:
    finished("good", "softmax", 0.5)
    claim("unfinished").write_config(Config())
    Path("runs/notes.txt").touch()
    finished("gone", "softmax", 0.5)
    Path("runs/gone/result.json").write_text(json.dumps({"params": 1}))
    finished("unknown", "no_such_model", 0.5)
    comparison = compare_runs(map(str, sorted(Path("runs").iterdir())))
    assert [run.run for run in comparison.runs] == ["runs/good"]
    reasons = [
        "gone: runs/gone/result.json is missing or damaged",
        "notes.txt: no run",
        "unfinished: not finished",
        "unknown: model",
    ]
    for skipped, reason in zip(comparison.skipped, reasons, strict=True):
        assert skipped.startswith(f"runs/{reason}")


def test_no_finished_run_is_an_error() -> None:
    claim("unfinished").write_config(Config())
    with pytest.raises(
        UsageError, match="none of these is a finished run: runs/unfinished: not finished"
    ):
        compare_runs(["unfinished"])


def test_a_run_that_does_not_exist_is_an_error() -> None:
    finished("good", "softmax", 0.5)
    with pytest.raises(UsageError, match="nothing: no run there"):
        compare_runs(["good", "nothing"])
