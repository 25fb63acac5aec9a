"""Settings on the command line: text stays text, all else is YAML; flags beat files."""

from pathlib import Path
from typing import Any

import pytest

from epochal.app.commands.arguments import flag_of, resolve_config
from epochal.app.commands.reference import reference
from epochal.app.commands.train import parse
from epochal.app.config import SETTINGS, get_setting


@pytest.mark.parametrize(
    ("key", "word", "value"),
    [
        ("name", "0123", "0123"),
        ("name", "no", "no"),
        ("name", "null", None),
        ("model", "null", "null"),
        ("augment.border", "black", "black"),
        ("augment.flip", "false", False),
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", "1", 1.0),
        ("seed", "0123", 123),
        ("schedule.milestones", "[5, 10]", [5, 10]),
        ("optim.options", "{momentum: 0.5, nesterov: no}", {"momentum": 0.5, "nesterov": "no"}),
        ("objective.class_weights", "balanced", "balanced"),
        ("objective.class_weights", "{0: 2, no: 3}", {"0": 2.0, "no": 3.0}),
    ],
)
@pytest.mark.parametrize("joined", [True, False])
def test_a_word_means(key: str, word: str, value: Any, joined: bool) -> None:
    words = [f"{flag_of(key)}={word}"] if joined else [flag_of(key), word]
    received = get_setting(resolve_config(parse(words)), key)
    assert received == value
    assert type(received) is type(value)


@pytest.mark.parametrize("word", ["-1", "-1e-3", "-.5"])
def test_a_negative_number_is_a_value(word: str) -> None:
    values = vars(parse(["--learning-rate", word]))
    assert values["learning_rate"] == float(word)


def test_a_file_is_read_with_the_types_of_flags(tmp_path: Path) -> None:
    file = tmp_path / "given.yaml"
    file.write_text("name: no\nlearning_rate: 1e-3\noptim:\n  rates: {stem: 2}\n")
    config = resolve_config(parse(["--config", str(file), "--name", "other"]))
    assert config.name == "other"
    assert config.learning_rate == 0.001
    assert config.optim.rates == {"stem": 2.0}


def test_the_reference_has_a_row_for_every_flag() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `--")]
    assert [row.split("`")[1] for row in rows] == [flag_of(key) for key in SETTINGS]
