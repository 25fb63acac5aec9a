"""Settings by their dotted keys, as `optim.clip_norm`: read, replaced, nested and flattened."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from epochal.app.config.config import Config
from epochal.app.config.settings import settings_of

SETTINGS = settings_of(Config)
GROUPS: dict[str, Any] = {
    field.name: field.type for field in fields(Config) if is_dataclass(field.type)
}


def get_setting(config: Config, key: str) -> Any:
    """Return the value of a setting, as given: see `Config.rate` and `global_batch` for None."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def replace_settings(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the configuration with other values, given by dotted key.

    Raises:
        ValueError: when they do not suit one another.
    """
    changes: dict[str, Any] = {}
    for name, value in nest(values).items():
        if name in GROUPS:
            changes[name] = replace(getattr(config, name), **value)
        else:
            changes[name] = value
    return replace(config, **changes)


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"optim": {"ema": 0.9}}` for `{"optim.ema": 0.9}`."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        target = nested.setdefault(group, {}) if group else nested
        target[name] = value
    return nested


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"optim.ema": 0.9}` for `{"optim": {"ema": 0.9}}`; only groups are opened."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in GROUPS and isinstance(value, Mapping):
            for name, inner in value.items():
                flat[f"{key}.{name}"] = inner
        else:
            flat[key] = value
    return flat
