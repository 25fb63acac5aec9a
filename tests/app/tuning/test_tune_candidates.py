"""Names and options in a search that only Keras and the zoo know: one line for each mistake."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from epochal.app.config import Config
from epochal.app.data.load import load
from epochal.app.errors import UsageError
from epochal.app.tuning.candidates import check_candidates
from epochal.app.tuning.space import read_space
from tests.support.program import epochal

BOTH = {"optimizer": {"choice": ["sgd", "adam"]}}
MOMENTUM = {"optim.options.momentum": {"linear": [0, 0.9]}}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "option": (
        {"optim.options.momntum": {"linear": [0, 0.9]}},
        "it has no momntum (did you mean momentum?)",
    ),
    "option of another": (
        BOTH | MOMENTUM,
        "; see docs/optimizers.md; what some optimizers lack is searched with when: "
        "{optimizer: [...]}",
    ),
    "optimizer": (
        {"optimizer": {"choice": ["sgd", "adma"]}},
        "optimizer: unknown 'adma' (did you mean adam",
    ),
    "model": (
        {"model": {"choice": ["mlp", "lenet6"]}},
        "model: Unknown model 'lenet6'. Did you mean 'lenet5'?",
    ),
    "activation": (
        {"model": {"choice": ["resnet8"]}, "activation": {"choice": ["relu", "rleu"]}},
        "activation must be relu, leaky_relu, prelu",
    ),
    "norm of a model without": (
        {"norm": {"choice": [None, "batch"]}},
        "softmax has no options, got norm 'batch'",
    ),
    "small images": (
        {"image_size": {"choice": [8, 32]}, "model": {"choice": ["lenet300", "alexnet"]}},
        "alexnet needs",
    ),
}
ALLOWED: dict[str, dict[str, Any]] = {
    "momentum from 0 with sgd": BOTH
    | {"optim.options.momentum": {"linear": [0, 0.9], "when": {"optimizer": "sgd"}}},
    "models and their norm": {
        "model": {"choice": ["softmax", "resnet20"]},
        "norm": {"choice": ["batch", "none"], "when": {"model": "resnet20"}},
    },
}


def check(search: dict[str, Any]) -> None:
    base = Config(model="softmax")
    space = read_space(search, "search.yaml", base)
    check_candidates(space, base, load(base).preprocessing, "search.yaml")


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str) -> None:
    search, message = MISTAKES[name]
    with pytest.raises(UsageError) as found:
        check(search)
    assert message in str(found.value)
    assert str(found.value).startswith("search.yaml: ")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_trains_is_allowed(name: str) -> None:
    check(ALLOWED[name])


@pytest.mark.slow
def test_nothing_is_written_where_a_trial_could_not_be_built(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(MISTAKES["model"][0]))
    done = epochal(["tune", "--search", "search.yaml", "--name", "s"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "search.yaml: model: Unknown model 'lenet6'" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["search.yaml"]


@pytest.mark.slow
def test_the_winner_is_trained_on_several_devices_too(tmp_path: Path) -> None:
    words = [
        "tune",
        "--model",
        "softmax",
        "--epochs",
        "1",
        "--devices",
        "2",
        "--trials",
        "1",
        "--name",
        "s",
    ]
    (tmp_path / "search.yaml").write_text("learning_rate: {log: [1e-2, 1e-1]}")
    done = epochal([*words, "--search", "search.yaml"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
