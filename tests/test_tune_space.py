"""Search files: what they mean, and one line for each mistake."""

import math
from typing import Any

import pytest

from app.config import Config
from app.errors import UsageError
from app.tuning.plan import Plan
from app.tuning.space import Range, changed, points, read_space

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"learning_rat": {"log": [1, 2]}}, "unknown key learning_rat (did you mean learning_rate?)"),
    "unknown inner key": ({"optim": {"momentum": {"log": [1, 2]}}}, "unknown key optim.momentum"),
    "inverted": ({"learning_rate": {"log": [1, 0.1]}}, "learning_rate: the range [1, 0.1] is empty"),
    "empty": ({"learning_rate": {"linear": [1, 1]}}, "the range [1, 1] is empty"),
    "log from zero": ({"learning_rate": {"log": [0, 1]}}, "a log range cannot begin at 0; begin above 0"),
    "no range": ({"learning_rate": 0.1}, "learning_rate: expected one of {log: [low, high]}"),
    "two kinds": ({"learning_rate": {"log": [1, 2], "linear": [1, 2]}}, "expected one of"),
    "three numbers": ({"learning_rate": {"log": [1, 2, 3]}}, "log needs two numbers, [low, high], got [1, 2, 3]"),
    "words": ({"epochs": {"int": ["a", "b"]}}, 'int needs two numbers, [low, high], got ["a", "b"]'),
    "parts": ({"epochs": {"int": [1.5, 3]}}, "int needs whole numbers, got [1.5, 3]"),
    "no choice": ({"model": {"choice": []}}, "choice needs a list of at least one value"),
    "wide step": ({"epochs": {"int": [1, 3], "step": 5}}, "step must be above 0 and at most 2"),
    "impossible value": ({"optimizer": {"choice": ["sgd", 3]}, "epochs": {"int": [0, 3]}}, "epochs"),
    "not positive": ({"learning_rate": {"linear": [-1, 1]}}, "learning_rate"),
    "own key": ({"data": {"split": {"choice": ["all"]}}}, "unknown key data.split"),
    "no parent": (
        {"optim": {"options": {"momentum": {"linear": [0, 1], "when": {"optimizer": "sgd"}}}}},
        "optim.options.momentum: when optimizer: no range above it has that name; there are: none",
    ),
    "no such choice": (
        {"optimizer": {"choice": ["adam"]}, "learning_rate": {"log": [1, 2], "when": {"optimizer": "sgd"}}},
        "learning_rate: when optimizer: 'sgd' is none of its choices",
    ),
    "nothing": ({}, "holds no ranges; give one"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str) -> None:
    values, message = MISTAKES[name]
    with pytest.raises(UsageError) as found:
        read_space(values, "search.yaml", Config())
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_nested_and_dotted_keys_are_the_same() -> None:
    nested = {"optim": {"weight_decay": {"log": [1e-6, 1]}, "options": {"momentum": {"linear": [0, 0.9]}}}}
    dotted = {"optim.weight_decay": {"log": [1e-6, 1]}, "optim.options.momentum": {"linear": [0, 0.9]}}
    assert read_space(nested, "a", Config()) == read_space(dotted, "b", Config())


def test_values_go_into_the_configuration() -> None:
    config = changed(Config(), {"learning_rate": 0.5, "optim.options.momentum": 0.3, "schedule.milestones": [2, 3]})
    assert (config.learning_rate, config.optim.options, config.schedule.milestones) == (0.5, {"momentum": 0.3}, [2, 3])
    assert changed(Config(), {}) == Config()


def test_a_conditional_range_is_checked_with_what_it_needs() -> None:
    space = read_space(
        {
            "schedule": {
                "shape": {"choice": ["steps", "cosine"]},
                "milestones": {"choice": [[1, 2], [2, 3]], "when": {"schedule.shape": "steps"}},
            }
        },
        "here",
        Config(),
    )
    assert space[1] == Range(
        name="schedule.milestones", kind="choice", values=([1, 2], [2, 3]), when={"schedule.shape": ("steps",)}
    )


def test_points() -> None:
    space = read_space({"epochs": {"int": [1, 9], "step": 2}, "model": {"choice": ["mlp", "lenet5"]}}, "here", Config())
    assert points(space) == 10
    assert math.isinf(points(read_space({"learning_rate": {"log": [1, 2]}}, "here", Config())))


def test_a_plan_comes_back_from_its_file_and_names_what_differs() -> None:
    space = read_space(
        {"optimizer": {"choice": ["sgd", "adam"]}, "learning_rate": {"log": [1, 2], "when": {"optimizer": "sgd"}}},
        "here",
        Config(),
    )
    plan = Plan(space=space, algorithm="grid", trials=3, splits="kfold:5", select="one-se", seed=4, monitor="val_loss")
    assert Plan.from_dict(plan.to_dict()) == plan
    plan.check_same(space, "there")
    with pytest.raises(UsageError, match="there was made by another search space \\(differing: learning_rate\\)"):
        plan.check_same((space[0],), "there")
