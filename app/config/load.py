"""From plain nested values to a checked configuration."""

from dataclasses import fields, is_dataclass
from typing import Any

from epochal.app.config import Config
from epochal.app.errors import UsageError, suggestion


def config_from(values: dict[str, Any], where: str) -> Config:
    """A checked configuration from nested plain values; what they lack is the default.

    Raises:
        UsageError: naming `where` they come from, and what is wrong.
    """
    from epochal.app.commands.arguments import (
        config_of_flat,  # until values are checked without flags
    )

    return config_of_flat(flatten(values, where))


def flatten(
    values: dict[str, Any], where: str, kind: type = Config, prefix: str = ""
) -> dict[str, Any]:
    """Nested values as {"augment.flip": True, ...}; unknown keys are errors with a suggestion."""
    known = {field.name: field for field in fields(kind)}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UsageError(
                f"{where}: unknown key {prefix}{key}{suggestion(str(key), list(known))}; see epochal train --help"
            )
        inner = known[key].type
        if isinstance(inner, type) and is_dataclass(inner):
            if not isinstance(value, dict):
                raise UsageError(
                    f"{where}: {key} must hold keys such as {fields(inner)[0].name}, got {value!r}"
                )
            flat |= flatten(value, where, inner, f"{key}.")
        else:
            flat[prefix + key] = value
    return flat
