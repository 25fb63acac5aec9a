"""Settings: every field states its traits, and what is done with them."""

from dataclasses import asdict, fields, is_dataclass

import pytest

from epochal.app.config import SETTINGS, Config, Optim, Schedule, get_setting, replace_settings
from epochal.app.config.keys import flatten, nest
from epochal.app.config.optimizers import USUAL_RATES


def test_every_field_states_its_traits() -> None:
    keys = []
    for field in fields(Config):
        if is_dataclass(field.type):
            keys += [f"{field.name}.{inner.name}" for inner in fields(field.type)]
        else:
            keys.append(field.name)
    assert list(SETTINGS) == keys


@pytest.mark.parametrize("key", SETTINGS)
def test_documentation_says_what_null_means(key: str) -> None:
    setting = SETTINGS[key]
    assert setting.traits.doc
    assert ("(null: " in setting.traits.doc) == (setting.default is None)


def test_a_reason_is_given_for_what_a_sweep_may_not_search() -> None:
    reasons = [setting.traits.unsearchable for setting in SETTINGS.values()]
    assert "" not in reasons


def test_values_by_dotted_key() -> None:
    config = Config(optim=Optim(ema=0.9))
    assert get_setting(config, "optim.ema") == 0.9
    changed = replace_settings(config, {"optim.l1": 0.1, "epochs": 3})
    assert changed == Config(epochs=3, optim=Optim(ema=0.9, l1=0.1))
    assert nest(flatten(asdict(config))) == asdict(config)


@pytest.mark.parametrize("optimizer", USUAL_RATES)
def test_the_rate_is_the_usual_one_of_the_optimizer(optimizer: str) -> None:
    config = Config(optimizer=optimizer)
    assert config.rate == config.to_dict()["learning_rate"] == USUAL_RATES[optimizer]
    assert config.learning_rate is None


def test_a_rate_that_is_given_stays() -> None:
    assert Config(optimizer="adam", learning_rate=0.5).rate == 0.5


def test_another_optimizer_has_another_usual_rate() -> None:
    config = replace_settings(Config(), {"optimizer": "Adam"})
    assert config.rate == USUAL_RATES["adam"]


@pytest.mark.parametrize(
    ("schedule", "unit"),
    [
        (Schedule(shape="plateau", patience=2), "epochs"),
        (Schedule(shape="stuck", patience=2), "windows"),
    ],
)
def test_patience_is_counted_as_the_shape_says(schedule: Schedule, unit: str) -> None:
    assert schedule.counted_in("patience") == unit
    assert schedule.counted_in("warm_up") == "epochs"
