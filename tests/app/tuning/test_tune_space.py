"""Search files: what they mean, and one line for each mistake."""

import math
import re
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from epochal.app.commands.tune import DESCRIPTION, make_parser, make_plan
from epochal.app.config import Augment, Config
from epochal.app.errors import UsageError
from epochal.app.store.plan import Plan, Range
from epochal.app.tuning.space import changed, corners, count_points, read_search, read_space

MISTAKES: dict[str, tuple[dict[Any, Any], str]] = {
    "unknown key": (
        {"learning_rat": {"log": [1, 2]}},
        "unknown key learning_rat (did you mean learning_rate?)",
    ),
    "unknown inner key": ({"optim": {"momentum": {"log": [1, 2]}}}, "unknown key optim.momentum"),
    "inverted": (
        {"learning_rate": {"log": [1, 0.1]}},
        "learning_rate: the range [1, 0.1] is empty",
    ),
    "empty": ({"learning_rate": {"linear": [1, 1]}}, "the range [1, 1] is empty"),
    "log from zero": (
        {"learning_rate": {"log": [0, 1]}},
        "a log range cannot begin at 0; begin above 0",
    ),
    "no range": ({"learning_rate": 0.1}, "learning_rate: expected one of {log: [low, high]}"),
    "two kinds": ({"learning_rate": {"log": [1, 2], "linear": [1, 2]}}, "expected one of"),
    "three numbers": (
        {"learning_rate": {"log": [1, 2, 3]}},
        "log needs two numbers, [low, high], got [1, 2, 3]",
    ),
    "words": (
        {"epochs": {"int": ["a", "b"]}},
        'int needs two numbers, [low, high], got ["a", "b"]',
    ),
    "parts": ({"epochs": {"int": [1.5, 3]}}, "int needs whole numbers, got [1.5, 3]"),
    "no choice": ({"model": {"choice": []}}, "choice needs a list of at least one value"),
    "wide step": ({"epochs": {"int": [1, 3], "step": 5}}, "step must be above 0 and at most 2"),
    "impossible value": (
        {"optimizer": {"choice": ["sgd", 3]}, "epochs": {"int": [0, 3]}},
        "epochs",
    ),
    "not positive": ({"learning_rate": {"linear": [-1, 1]}}, "learning_rate"),
    "own key": (
        {"data": {"split": {"choice": ["all"]}}},
        "data.split cannot be searched: the sweep sets it; give --splits",
    ),
    "no parent": (
        {"optim": {"options": {"momentum": {"linear": [0, 1], "when": {"optimizer": "sgd"}}}}},
        "optim.options.momentum: when optimizer: no range above it has that name; there are: none",
    ),
    "no such choice": (
        {
            "optimizer": {"choice": ["adam"]},
            "learning_rate": {"log": [1, 2], "when": {"optimizer": "sgd"}},
        },
        "learning_rate: when optimizer: 'sgd' is none of its choices",
    ),
    "nothing": ({}, "holds no ranges; give one"),
    "file and key": (
        {"batch_size": {"choice": [0]}},
        "search.yaml: batch_size must be from 1 to 1000000, got 0",
    ),
    "given once": (
        {"devices": {"choice": [1, 2]}},
        "devices cannot be searched: it is the same for all trials",
    ),
    "other images": (
        {"seed": {"int": [1, 3]}},
        "seed cannot be searched: it decides which images validate, so trials",
    ),
    "other share": (
        {"data": {"validation": {"linear": [0.1, 0.2]}}},
        "data.validation cannot be searched: trials would",
    ),
    "other data": (
        {"dataset": {"choice": ["digits", "mnist"]}},
        "dataset cannot be searched: trials would not be",
    ),
    "other files": (
        {"data.skip_bad": {"choice": [True, False]}},
        "data.skip_bad cannot be searched: trials would not",
    ),
    "other score": (
        {"stopping.monitor": {"choice": ["val_loss"]}},
        "stopping.monitor cannot be searched: trials would",
    ),
    "twice": (
        {"optim.weight_decay": {"log": [1e-6, 1]}, "optim": {"weight_decay": {"log": [1e-4, 1]}}},
        "search.yaml: optim.weight_decay is given twice, nested or with dots; give it once",
    ),
    "a part": (
        {
            "optim.options.momentum": {"linear": [0, 0.9]},
            "optim": {"options": {"choice": [{"momentum": 0.5}]}},
        },
        "optim.options.momentum is a part of optim.options, which is given, too; give one of both",
    ),
    "part of an option": ({"optim.options.a.b": {"choice": [1]}}, "unknown key optim.options.a.b"),
    "choices twice": (
        {"optimizer": {"choice": ["sgd", "adam", "sgd"]}},
        '"sgd" is given twice among the choices',
    ),
    "rates twice": (
        {"learning_rate": {"choice": [1, "1e0"]}},
        "1.0 is given twice among the choices",
    ),
    "many choices": (
        {"epochs": {"choice": list(range(1, 2000))}},
        "search.yaml: epochs: 1,999 choices, expected at most 1,000",
    ),
    "many ranges": (
        {f"optim.options.a{i}": {"choice": [1, 2]} for i in range(200)},
        "search.yaml: 200 ranges, expected at most 100",
    ),
    "no numbers": (
        {"model": {"linear": [1, 2]}},
        "model: is no number, got a range linear; give its values",
    ),
    "linear epochs": (
        {"epochs": {"linear": [1, 5]}},
        "epochs: is a whole number, got a range linear; give {int: [low,",
    ),
    "log batch": (
        {"batch_size": {"log": [16, 128]}},
        "batch_size: is a whole number, got a range log; give {int: ",
    ),
    "part of a batch": (
        {"batch_size": {"choice": [16, 32.5]}},
        "search.yaml: batch_size: expected a whole number or null, got 32.5",
    ),
    "a word as step": (
        {"epochs": {"int": [1, 9], "step": "two"}},
        'step must be above 0 and at most 8, got "two"',
    ),
    "step null": (
        {"epochs": {"int": [1, 9], "step": None}},
        "step must be above 0 and at most 8, got null",
    ),
    "step true": (
        {"epochs": {"int": [1, 9], "step": True}},
        "step must be above 0 and at most 8, got true",
    ),
    "part of a step": (
        {"epochs": {"int": [1, 9], "step": 1.5}},
        "epochs: int needs a whole step, got 1.5",
    ),
    "tiny step": (
        {"learning_rate": {"linear": [0.1, 1], "step": 1e-9}},
        "leaves over 10,000 values",
    ),
    "log step": (
        {"learning_rate": {"log": [0.1, 1], "step": 0.1}},
        "learning_rate: log has no step, got 0.1",
    ),
    "step of a choice": (
        {"learning_rate": {"choice": [0.1], "step": 0.1}},
        "a choice has no step; drop it",
    ),
    "huge": ({"epochs": {"int": [1, 10**400]}}, "int needs two numbers"),
    "endless": ({"learning_rate": {"log": [1, "1e999"]}}, "log needs two numbers"),
    "a date": (
        {"model": {"choice": ["mlp", date(2024, 1, 1)]}},
        'choices are numbers, words, .* got "2024-01-01"',
    ),
    "dates by name": (
        {"optim.rates": {"choice": [{date(2024, 1, 1): 1}]}},
        "choices are numbers, words, true, false",
    ),
    "not a number": (
        {"model": {"choice": [math.nan]}},
        "choices are numbers, words, true, false, null",
    ),
    "a key that is none": ({1: {"choice": [1]}}, "unknown key 1"),
    "when too late": (
        {
            "learning_rate": {"log": [1, 2], "when": {"optimizer": "sgd"}},
            "optimizer": {"choice": ["sgd"]},
        },
        "learning_rate: when optimizer: no range above it has that name; there are: none",
    ),
    "when a number": (
        {"epochs": {"int": [1, 3]}, "learning_rate": {"log": [1, 2], "when": {"epochs": 1}}},
        "learning_rate: when epochs: 1 is none of its choices: it is a range of numbers",
    ),
    "together": (
        {"epochs": {"int": [2, 9]}, "schedule": {"warm_up": {"choice": [1, 5]}}},
        "search.yaml: schedule.warm_up must be below the 2 epochs, got 5",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str) -> None:
    values, message = MISTAKES[name]
    with pytest.raises(UsageError) as found:
        read_space(values, "search.yaml", Config())
    assert all(part in str(found.value) for part in message.split(".*"))
    assert str(found.value).startswith("search.yaml: ")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "when", ["sgd", ["optimizer"], None, {}, {"optimizer": []}, 3, date(2024, 1, 1)]
)
def test_conditions_have_a_shape(when: Any) -> None:
    values = {
        "optimizer": {"choice": ["sgd", "adam"]},
        "learning_rate": {"log": [0.1, 1], "when": when},
    }
    with pytest.raises(
        UsageError,
        match=r"^here: learning_rate: when needs another range and its values, for instance",
    ):
        read_space(values, "here", Config())


@pytest.mark.parametrize("text", ["", "- learning_rate", "learning_rate", "null", "{}"])
def test_a_file_without_ranges_is_told_what_one_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(text)
    with pytest.raises(
        UsageError,
        match=r"search.yaml: holds no ranges; give one, for instance learning_rate: {log: \[",
    ):
        read_search(tmp_path / "search.yaml", Config())


def test_the_example_of_the_help_is_a_search(tmp_path: Path) -> None:
    lines = [line.strip() for line in DESCRIPTION.splitlines() if re.match(r" +[a-z_.]+: \{", line)]
    (tmp_path / "search.yaml").write_text("\n".join(lines))
    space = {one.name: one for one in read_search(tmp_path / "search.yaml", Config())}
    assert len(space) == len(lines) == 6
    assert (space["learning_rate"].low, space["learning_rate"].high) == (1e-4, 1)
    assert space["optim.options.momentum"].when == {"optimizer": ("sgd",)}


def test_what_yaml_takes_for_text_is_a_number_where_one_is_meant(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("""\
optim.weight_decay: {choice: [1e-4, 0, "0.5"]}
learning_rate: {linear: [1e-1, "1"], step: 1e-1}
batch_size: {choice: ["32", 64]}
epochs: {int: ["1", 9], step: "2"}
objective.label_smoothing: {choice: [0], when: {optim.weight_decay: 1e-4}}
""")
    decay, rate, batch, epochs, smoothing = read_search(tmp_path / "search.yaml", Config())
    assert (decay.values, batch.values, list(epochs.listed or ())) == (
        (1e-4, 0.0, 0.5),
        (32, 64),
        [1, 3, 5, 7, 9],
    )
    assert rate.listed == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert smoothing.when == {"optim.weight_decay": (1e-4,)}


def test_nested_and_dotted_keys_are_the_same() -> None:
    nested = {
        "optim": {"weight_decay": {"log": [1e-6, 1]}, "options": {"momentum": {"linear": [0, 0.9]}}}
    }
    dotted = {
        "optim.weight_decay": {"log": [1e-6, 1]},
        "optim.options.momentum": {"linear": [0, 0.9]},
    }
    assert read_space(nested, "a", Config()) == read_space(dotted, "b", Config())


def test_values_go_into_the_configuration() -> None:
    config = changed(
        Config(),
        {"learning_rate": 0.5, "optim.options.momentum": 0.3, "schedule.milestones": [2, 3]},
    )
    assert (config.learning_rate, config.optim.options, config.schedule.milestones) == (
        0.5,
        {"momentum": 0.3},
        [2, 3],
    )
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
        name="schedule.milestones",
        kind="choice",
        values=([1, 2], [2, 3]),
        when={"schedule.shape": ("steps",)},
    )


def test_points() -> None:
    space = read_space(
        {"epochs": {"int": [1, 9], "step": 2}, "model": {"choice": ["mlp", "lenet5"]}},
        "here",
        Config(),
    )
    assert count_points(space) == 10
    assert math.isinf(
        count_points(read_space({"learning_rate": {"log": [1, 2]}}, "here", Config()))
    )


def test_points_under_a_condition_count_where_it_holds() -> None:
    conditional = {
        "optimizer": {"choice": ["sgd", "adam"]},
        "optim.options.momentum": {"choice": [0.1, 0.5, 0.9], "when": {"optimizer": "sgd"}},
        "optim.options.nesterov": {
            "choice": [False, True],
            "when": {"optim.options.momentum": [0.5, 0.9]},
        },
        "batch_size": {"choice": [32, 64]},
    }
    space = read_space(conditional, "here", Config())
    every = {
        tuple(
            sorted(
                (one.name, value)
                for one, value in zip(space, values, strict=True)
                if counts(one, space, values)
            )
        )
        for values in product(*(one.values for one in space))
    }
    assert count_points(space) == len(every) == 2 * (1 + 1 + 2 + 2)


def counts(one: Range, space: tuple[Range, ...], values: tuple[Any, ...]) -> bool:
    """Whether a range is searched where every one has a value, searched or not."""
    known = {other.name: (other, value) for other, value in zip(space, values, strict=True)}
    return all(
        known[key][1] in those and counts(known[key][0], space, values)
        for key, those in (one.when or {}).items()
    )


def test_every_extreme_stands_in_a_corner() -> None:
    space = read_space(
        {
            "optimizer": {"choice": ["adam", "sgd"]},
            "learning_rate": {"log": [0.1, 1]},
            "optim.options.momentum": {"linear": [0, 0.9], "when": {"optimizer": "sgd"}},
        },
        "here",
        Config(),
    )
    assert list(corners(space)) == [
        {"optimizer": "adam", "learning_rate": 0.1},
        {"optimizer": "sgd", "learning_rate": 0.1, "optim.options.momentum": 0},
        {"optimizer": "adam", "learning_rate": 1},
        {"optimizer": "sgd", "learning_rate": 0.1, "optim.options.momentum": 0.9},
    ]


@pytest.mark.parametrize(
    ("algorithm", "search", "message"),
    [
        (
            "hyperband",
            {"epochs": {"int": [2, 4]}},
            "epochs cannot be searched by hyperband, which decides",
        ),
        ("grid", {"learning_rate": {"log": [0.1, 1]}}, "give choice, or --algorithm random"),
        (
            "grid",
            {"learning_rate": {"linear": [0.1, 1]}},
            "give choice, or a step, or --algorithm random",
        ),
    ],
)
def test_an_algorithm_refuses_what_it_has_no_use_for(
    algorithm: str, search: dict[str, Any], message: str
) -> None:
    plan = Plan(space=read_space(search, "here", Config()), algorithm=algorithm)
    with pytest.raises(UsageError, match=f"^search.yaml: .*{re.escape(message)}"):
        plan.check("search.yaml")
    replace(plan, algorithm="random").check("search.yaml")


@pytest.mark.parametrize(
    ("words", "trials", "said"),
    [
        (["--trials", "9"], 4, "search.yaml has 4 points: there will be 4 trials, not 9"),
        (
            ["--algorithm", "grid", "--trials", "3"],
            3,
            "has 4 points, of which the first 3 are tried; for all, give",
        ),
        (["--algorithm", "grid", "--trials", "4"], 4, ""),
        # three begin with one epoch, of which one goes on to all three; the fourth has them at once
        (["--algorithm", "hyperband", "--trials", "9"], 5, "has 4 points, and hyperband would"),
        (["--trials", "3"], 3, ""),
    ],
)
def test_there_are_no_more_trials_than_points(
    words: list[str], trials: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "search.yaml").write_text(
        "batch_size: {choice: [16, 32]}\nlearning_rate: {linear: [0.1, 0.2], step: 0.1}"
    )
    asked = ["--search", str(tmp_path / "search.yaml"), *words]
    plan, _ = make_plan(make_parser().parse_args([*asked, "--epochs", "3"]))
    assert plan.trials == trials
    told = capsys.readouterr().err
    assert said in told
    assert bool(said) == bool(told)


def test_a_plan_comes_back_from_its_file_and_names_what_differs() -> None:
    space = read_space(
        {
            "optimizer": {"choice": ["sgd", "adam"]},
            "learning_rate": {"log": [1, 2], "when": {"optimizer": "sgd"}},
        },
        "here",
        Config(),
    )
    plan = Plan(
        space=space,
        algorithm="grid",
        trials=3,
        splits="kfold:5",
        select="one-se",
        seed=4,
        monitor="val_loss",
    )
    assert Plan.from_dict(plan.to_dict()) == plan
    plan.check_same(space, "there")
    with pytest.raises(
        UsageError, match="there was made by another search space \\(differing: learning_rate\\)"
    ):
        plan.check_same((space[0],), "there")


def test_a_policy_that_is_searched_stands_for_its_settings() -> None:
    policies = ["none", "photos"]
    search = {
        "augment.policy": {"choice": policies},
        "augment.hue": {"linear": [0, 0.1], "when": {"augment.policy": "photos"}},
    }
    base = Config(augment=Augment(rotate=5.0))
    space = read_space(search, "here", base)
    assert [searched.name for searched in space] == list(search)
    photos = changed(base, {"augment.policy": "photos", "augment.hue": 0.05}).augment
    assert (photos.resized_crop, photos.hue, photos.rotate) == (0.25, 0.05, 0.0)
    none = changed(base, {"augment.policy": "none"}).augment
    assert (none.flip, none.pad_crop, none.rotate) == (False, 0, 0.0)
