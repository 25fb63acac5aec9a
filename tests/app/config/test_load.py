"""Loading: YAML 1.2, types, and messages that tell the dotted path."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from epochal.app.config import SETTINGS, Config, Optim
from epochal.app.config.files import read_config_file, read_value, read_yaml, recipe_path, to_yaml
from epochal.app.config.load import config_from
from epochal.app.errors import UsageError

SCALARS = {
    "no": "no",
    "on": "on",
    "Off": "Off",
    "y": "y",
    "true": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "": None,
    "0123": 123,
    "0o17": 15,
    "0x1F": 31,
    "1:30": "1:30",
    "1_000": "1_000",
    "1e-3": 0.001,
    "1.": 1.0,
    ".5": 0.5,
    "-1.5E+3": -1500.0,
    "1e": "1e",
    ".inf": math.inf,
    "-.INF": -math.inf,
    "2020-01-01": "2020-01-01",
    "'no'": "no",
    "=": "=",
}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "word": ({"epochs": "many"}, "given: epochs: expected a whole number, got 'many'"),
    "fraction": ({"epochs": 1.0}, "epochs: expected a whole number, got 1.0"),
    "boolean": ({"epochs": True}, "epochs: expected a whole number, got true"),
    "null": ({"epochs": None}, "epochs: expected a whole number, got null"),
    "list": ({"learning_rate": [0.1]}, "learning_rate: expected a number or null, got [0.1]"),
    "number for text": ({"name": 123}, "name: expected text or null, got 123; put it in quotes"),
    "former boolean": ({"augment": {"flip": "no"}}, "got 'no'; write false"),
    "choice": ({"data": {"order": "sorted"}}, "data.order: expected shuffled, once, replacement"),
    "mapping": ({"optim": {"rates": {"a": "x"}}}, "optim.rates: expected numbers by name as"),
    "element": ({"schedule": {"milestones": [1, "x"]}}, "a list such as [15, 22] or null, got [1"),
    "group": ({"optim": 3}, "optim: expected keys such as options beneath it, got 3"),
    "empty group": ({"optim": None}, "optim: expected keys such as options beneath it, got null"),
    "unknown": ({"epoch": 3}, "unknown key epoch (did you mean epochs?)"),
    "unknown in a group": ({"optim": {"clip": 1}}, "unknown key optim.clip (did you mean optim."),
    "key of a group": ({"ema": 0.9}, "unknown key ema (did you mean optim.ema?)"),
    "dotted": ({"optim.ema": 0.9}, "optim.ema must stand beneath optim"),
    "out of range": ({"epochs": -1}, "given: epochs must be from 1 to 100000, got -1"),
    "long": ({"epochs": "x" * 1000}, "xxx ...; see epochal train --help"),
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_mean_what_yaml_1_2_says(text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(f"key: {text}\n")
    value = read_yaml(file)["key"]
    assert value == SCALARS[text]
    assert type(value) is type(SCALARS[text])


def test_keys_are_text_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("{no: 1, 0123: 2, 1.50: 3, ~: 4}")
    assert read_yaml(file) == {"no": 1, "0123": 2, "1.50": 3, "~": 4}


@pytest.mark.parametrize("text", ["a: 1\na: 2", "{1: a, 1: b}", "a: &x 1\nb: *x", "{[1]: 2}"])
def test_a_file_that_means_something_else_than_it_shows_is_refused(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match="not valid YAML"):
        read_yaml(file)


@given(st.text() | st.sampled_from(list(SCALARS)) | st.integers() | st.floats(allow_nan=False))
def test_what_is_written_is_read_back(value: Any) -> None:
    text = to_yaml({"key": value})
    assert read_value(text) == {"key": value}
    if isinstance(value, str):
        assert yaml.safe_load(text) == {"key": value}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_tells_its_path(name: str) -> None:
    values, expected = MISTAKES[name]
    with pytest.raises(UsageError) as raised:
        config_from(values, "given")
    message = str(raised.value)
    assert expected in message
    assert "\n" not in message


def test_whole_numbers_are_taken_for_numbers() -> None:
    config = config_from({"learning_rate": 1, "optim": {"rates": {"stem": 2}}}, "given")
    assert type(config.learning_rate) is float
    assert config.optim == Optim(rates={"stem": 2.0})


def test_a_configuration_comes_back_from_its_text() -> None:
    momentum = Optim(options={"momentum": 0.5})
    config = Config(name="1e-3", learning_rate=1e-7, batch_size=32, optim=momentum)
    assert config_from(read_value(to_yaml(config.to_dict())), "text") == config


def test_a_setting_that_a_stored_run_lacks_is_as_it_was_then(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("epochs: 3\naugment: {flip: true}\n")
    config = read_config_file(file)
    assert config.augment.border == "black"
    assert config.augment.flip is True
    assert config.optim == Optim()


@pytest.mark.parametrize("key", SETTINGS)
def test_defaults_are_of_their_type(key: str) -> None:
    group, _, name = key.rpartition(".")
    value = {name: SETTINGS[key].default}
    config_from({group: value} if group else value, "default")


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"did you mean mnist-lenet5.*there are: cifar10"):
        recipe_path("mnist-lenet")
