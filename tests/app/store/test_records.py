"""Records: round trips, files of earlier versions, and refusals of later and damaged ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epochal.app.commands.main import main
from epochal.app.errors import StorageError
from epochal.app.store.environment import Environment, InitFrom
from epochal.app.store.files import verify
from epochal.app.store.rollback import Rollback
from epochal.app.store.run import Run
from epochal.app.store.sweep import Sweep, SweepResult
from tests.support.records import make_data_card, make_environment, make_figures, make_result
from tests.support.sweeps import make_sweep


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    run.write_result(make_result())
    run.write_data_card(make_data_card())
    run.write_environment(make_environment())
    return run


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text())
    values.update(changes)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "result",
    [
        make_result(),
        make_result(test=None),
        make_result(validation=None, test=make_figures(0.25, top5_accuracy=0.75)),
        make_result(best_epoch=None, images_per_second=None),
    ],
)
def test_a_result_is_read_as_it_was_written(result, run: Run) -> None:
    run.write_result(result)
    assert run.result() == result


def test_a_result_has_the_keys_of_all_versions(run: Run) -> None:
    stored = json.loads(run.result_file.read_text())
    assert stored["schema"] == 1
    assert stored["test_accuracy"] == stored["validation_accuracy"] == 0.5
    assert "test_top5_accuracy" not in stored
    assert stored["wall_seconds"] == 12.5


def test_a_result_without_schema_lacks_what_was_not_counted_then(run: Run) -> None:
    values = make_result().to_dict()
    for key in ("schema", "rollbacks", "test_chance", "validation_chance"):
        del values[key]
    run.result_file.write_text(json.dumps(values))
    result = run.result()
    assert result.rollbacks is None
    assert result.judged.chance is None
    assert result.judged.accuracy == 0.5
    assert not result.learned


@pytest.mark.parametrize(
    ("test", "split", "learned"),
    [
        (make_figures(accuracy_low=0.3, chance=0.2), "test", True),
        (make_figures(accuracy_low=0.2, chance=0.2), "test", False),
        (None, "validation", True),
    ],
)
def test_a_result_is_judged_on_test_where_it_was_evaluated(test, split, learned) -> None:
    result = make_result(test=test)
    assert result.judged_on == split
    assert result.judged == (test or result.validation)
    assert result.learned == learned


def test_a_data_card_is_read_as_it_was_written(run: Run) -> None:
    card = make_data_card(evaluated=("validation",), skipped=(("a.png", "no image"),))
    run.write_data_card(card)
    assert run.data_card() == card


def test_a_data_card_without_schema_names_both_splits(run: Run) -> None:
    values = make_data_card().to_dict()
    for key in ("schema", "evaluated", "skipped"):
        del values[key]
    run.data_file.write_text(json.dumps(values))
    assert run.data_card() == make_data_card()


def test_an_environment_is_read_as_it_was_written(run: Run) -> None:
    origin = InitFrom(run="runs/a", weights="1" * 64, learning_rate=0.1)
    environment = Environment.of_this_process(origin)
    run.write_environment(environment)
    assert run.environment() == environment
    assert "keras" in environment.packages
    run.write_environment(replace(environment, init_from=None))
    assert run.environment().init_from is None
    assert "init_from" not in run.environment_file.read_text()


def test_rollbacks_are_read_as_they_were_written(run: Run) -> None:
    assert run.rollbacks() == []
    rollbacks = [Rollback(quantity="loss", epoch=2, step=3, back_to=(1, 1))]
    run.write_rollbacks(rollbacks)
    assert run.rollbacks() == rollbacks
    run.rollbacks_file.write_text('[{"quantity": "loss"}]')
    with pytest.raises(StorageError, match=r"rollbacks\.json is missing or damaged"):
        run.rollbacks()


@pytest.mark.parametrize("name", ["result", "data_card", "environment"])
def test_a_record_of_a_later_version_is_refused(name: str, run: Run) -> None:
    files = {"result": run.result_file, "data_card": run.data_file}
    path = files.get(name, run.environment_file)
    edit(path, schema=2)
    with pytest.raises(StorageError) as refused:
        getattr(run, name)()
    message = str(refused.value)
    assert message.startswith(f"{path}: schema 2 ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", "null", '{"schema": "new"}', "{}", "[" * 100_000],
    ids=lambda content: content[:16],
)
@pytest.mark.parametrize("name", ["result", "data_card", "environment"])
def test_a_damaged_record_is_one_line_that_names_the_file(
    name: str, content: str, run: Run
) -> None:
    files = {"result": run.result_file, "data_card": run.data_file}
    path = files.get(name, run.environment_file)
    path.write_text(content)
    with pytest.raises(StorageError) as refused:
        getattr(run, name)()
    message = str(refused.value)
    assert message.startswith(f"{path} is missing or damaged")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value"),
    [("params", "many"), ("test_accuracy", None), ("test_count", [1]), ("epochs", {})],
)
def test_a_result_with_a_wrong_value_is_damaged(key: str, value: Any, run: Run) -> None:
    edit(run.result_file, **{key: value})
    with pytest.raises(StorageError, match=r"result\.json is missing or damaged"):
        run.result()


@pytest.mark.parametrize("size", [float("inf"), [], {}])
def test_a_size_that_is_no_whole_number_is_damage(size: Any, run: Run) -> None:
    edit(run.data_file, image_size=size)
    with pytest.raises(StorageError, match="missing or damaged"):
        run.data_card()


def test_a_manifest_of_endless_brackets_is_damage(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(StorageError, match="manifest is missing or damaged"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "luck"},
        {"trials": "many"},
        {"splits": None},
        {"monitor": []},
        {"space": [{"name": 1, "kind": "int"}]},
        {"space": [{"name": "epochs", "kind": "int", "low": "few"}]},
        {"space": 5},
    ],
)
def test_a_plan_that_nobody_made_is_damage(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "sweep", trials=1)
    edit(folder / "sweep.json", **changes)
    with pytest.raises(StorageError, match="damaged"):
        _ = Sweep(folder).plan


@pytest.mark.parametrize("value", ["high", [], None])
def test_a_sweep_whose_result_is_no_number_is_damage(
    value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_sweep(tmp_path / "sweep", trials=1)
    values = dict.fromkeys(SweepResult.__dataclass_fields__, 0.5)
    (folder / "result.json").write_text(json.dumps(values | {"validation_score": value}))
    assert main(["tune", "--resume", str(folder)]) == 4
    assert "damaged" in capsys.readouterr().err.splitlines()[-1]
