"""Loading: plain nested values become a checked configuration; mistakes tell their dotted path."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from epochal.app.config.checks import shortened
from epochal.app.config.config import Config
from epochal.app.config.keys import GROUPS, SETTINGS, flatten, nest
from epochal.app.config.policies import expand_policy
from epochal.app.errors import UsageError, suggestion

_HELP = "see epochal train --help"
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "null",
    list[int]: "a list such as [15, 22]",
    dict[str, float]: 'numbers by name as {"cat": 2}',
    dict[str, Any]: 'options by name as {"momentum": 0.8}',
}
_UNKNOWN = "extra_forbidden"  # pydantic's name of the mistake
# What YAML 1.1, but not 1.2, takes for true and false.
_FORMER_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def config_from(values: Mapping[str, Any], where: str) -> Config:
    """Return a checked configuration from nested plain values; what they lack is the default.

    Raises:
        UsageError: naming `where` they come from, the dotted path and what is wrong there.
    """
    return make_config(expand_policy(check_values(values, where)), where)


def check_values(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return nested values by dotted key, each of its setting's type.

    Args:
        values: as a configuration file holds them, any of the settings.
        where: the file, for messages; empty for flags.

    Raises:
        UsageError: for an unknown key, with a suggestion, or a value of another type.
    """
    # Imported late: help is shown without it.
    from pydantic import ValidationError

    try:
        return flatten(_shape().validate_python(dict(values)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = _in_words(
            values,
            first["loc"],
            unknown=first["type"] == _UNKNOWN,
        )
    raise UsageError(f"{where}: {message}; {_HELP}" if where else f"{message}; {_HELP}")


def make_config(values: Mapping[str, Any], where: str = "") -> Config:
    """Return the configuration of checked values by dotted key; what they lack is the default.

    Raises:
        UsageError: when the values do not suit one another.
    """
    groups = {}
    try:
        for name, inner in nest(values).items():
            groups[name] = GROUPS[name](**inner) if name in GROUPS else inner
        return Config(**groups)
    except ValueError as error:
        message = f"{error}; {_HELP}"
    raise UsageError(f"{where}: {message}" if where else message)


def with_earlier_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the nested values of a stored configuration.

    A setting that it lacks did not exist when it was written: it gets the value that held then.
    """
    flat = {key: setting.default_before for key, setting in SETTINGS.items()}
    return nest(flat | flatten(values))


def type_in_words(kind: Any) -> str:
    """Name a type as a user would, as `a number or null`."""
    *others, last = _alternatives(kind)
    return f"{', '.join(others)} or {last}" if others else last


def _alternatives(kind: Any) -> list[str]:
    if kind in _WORDS:
        return [_WORDS[kind]]
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    alternatives = []
    for option in get_args(kind):
        alternatives += _alternatives(option)
    return alternatives


def is_text(kind: Any) -> bool:
    """Tell whether all values of a type are text, null apart."""
    if get_origin(kind) in (Union, UnionType):
        return all(option is NoneType or is_text(option) for option in get_args(kind))
    return kind is str or get_origin(kind) is Literal


@cache
def _shape() -> Any:
    """Return the validator of a configuration file: any of the keys, each of its strict type."""
    from pydantic import ConfigDict, TypeAdapter
    from typing_extensions import TypedDict

    strict = ConfigDict(strict=True, extra="forbid")

    make_typed_dict: Any = TypedDict

    def partial(name: str, types: dict[str, Any]) -> Any:
        shape = make_typed_dict(name, types, total=False)
        shape.__pydantic_config__ = strict
        return shape

    types = nest({key: setting.type for key, setting in SETTINGS.items()})
    for name in GROUPS:
        types[name] = partial(name, types[name])
    return TypeAdapter(partial("configuration", types))


def _in_words(values: Mapping[str, Any], place: Sequence[int | str], *, unknown: bool) -> str:
    """Word a mistake by its place, whose first one or two parts are a setting's key."""
    if unknown:
        return unknown_key(".".join(map(str, place)))
    group = str(place[0])
    if group in GROUPS and len(place) == 1:
        example = _names_in(group)[0]
        received = _shown(values[group])
        return f"{group}: expected keys such as {example} beneath it, got {received}"
    key = f"{group}.{place[1]}" if group in GROUPS else group
    kind = SETTINGS[key].type
    received = flatten(values)[key]
    expected = type_in_words(kind)
    hint = _hint(kind, received)
    return f"{key}: expected {expected}, got {_shown(received)}{hint}"


def unknown_key(key: str) -> str:
    """Word the mistake of a key that there is not, with the one that may be meant."""
    group, _, name = key.rpartition(".")
    if key in SETTINGS:
        return f"{key} must stand beneath {group}, as {group}: {{{name}: ...}}"
    namesakes = [other for other in SETTINGS if other.endswith(f".{name}")]
    hint = ""
    if group in GROUPS:
        hint = suggestion(name, _names_in(group), f"{group}.")
    if not hint and namesakes:
        hint = f" (did you mean {namesakes[0]}?)"
    return f"unknown key {shortened(key)}{hint or suggestion(key, [*SETTINGS, *GROUPS])}"


def _names_in(group: str) -> list[str]:
    return [key.rpartition(".")[2] for key, setting in SETTINGS.items() if setting.group == group]


def _hint(kind: Any, received: Any) -> str:
    if bool in (kind, *get_args(kind)):
        meant = _FORMER_BOOLEANS.get(str(received).lower())
        return f"; write {meant}" if meant else ""
    if is_text(kind) and isinstance(received, int | float):
        return "; put it in quotes"
    return ""


def _shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, and its beginning where it is long."""
    if isinstance(value, str):
        text = repr(value)
    else:
        text = json.dumps(value, default=str, ensure_ascii=False)
    return shortened(text)
