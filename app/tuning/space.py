"""What a sweep searches: ranges of configuration keys, read from a file and checked before anything runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from epochal.app.config import SETTINGS, Config
from epochal.app.config.files import read_yaml
from epochal.app.config.keys import GROUPS
from epochal.app.config.load import config_from
from epochal.app.errors import UsageError, suggestion
from epochal.app.tuning.ranges import OPTIONS, Range, as_number, is_range, read_range

__all__ = [
    "Range",
    "Space",
    "changed",
    "corners",
    "from_dicts",
    "points",
    "read_search",
    "read_space",
]

Space = tuple[Range, ...]

_EXAMPLE = "ranges; give one, for instance learning_rate: {log: [1e-3, 1]}"


def read_search(path: Path, base: Config) -> Space:
    """The ranges in a search file; see `read_space`.

    Raises:
        UsageError: naming the file and what is wrong in it.
    """
    return read_space(read_yaml(path, _EXAMPLE), str(path), base)


def read_space(values: Mapping[str, Any], where: str, base: Config) -> Space:
    """The ranges in a search file's mapping, nested as a configuration is, or with dotted keys.

    Args:
        values: as `{"learning_rate": {"log": [1e-4, 1]}, "optim": {"weight_decay": {"choice": [0, 1e-4]}}}`.
        where: the file, for messages.
        base: what the ranges change; every corner has to make a valid configuration with it.

    Raises:
        UsageError: one line for the first mistake.
    """
    leaves = _leaves(values, where)
    if not leaves:
        raise UsageError(f"{where}: holds no {_EXAMPLE}")
    _check_names([name for name, _ in leaves], where)
    space: Space = ()
    for name, node in leaves:
        space += (_conditioned(read_range(name, node, where), space, where),)
    for corner in corners(space):
        try:
            changed(base, corner)
        except UsageError as error:
            raise UsageError(
                f"{where}: {str(error).removesuffix('; see epochal train --help')}"
            ) from error
    return space


def from_dicts(values: Sequence[Mapping[str, Any]]) -> Space:
    """The ranges that `to_dict` gave."""
    return tuple(
        Range(
            **{
                **one,
                "values": tuple(one.get("values", ())),
                "when": {key: tuple(those) for key, those in one["when"].items()}
                if "when" in one
                else None,
            }
        )
        for one in values
    )


def points(space: Space, given: Mapping[str, Any] | None = None) -> float:
    """How many different configurations a space holds; infinite with a range of real numbers.

    Args:
        space: or the rest of it.
        given: values of ranges before that rest on which others in it depend.
    """
    if not space:
        return 1
    one = space[0]
    rest = space[1:]
    values = given or {}
    if not one.searched_with(values):
        return points(rest, values)
    if any(one.name in (other.when or {}) for other in rest):
        return sum(points(rest, {**values, one.name: value}) for value in one.values)
    return one.points * points(rest, values)


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Points of the space in which every range has each of its extremes at least once."""
    seen = set()
    for one in space:
        for value in one.extremes():
            point = _point(space, {**_needed(one, space), one.name: value})
            if (text := json.dumps(point)) not in seen:
                seen.add(text)
                yield point


def changed(base: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values by dotted key.

    Raises:
        UsageError: when it is not valid.
    """
    nested = deepcopy(asdict(base))
    for key, value in values.items():
        *groups, name = key.split(".")
        target = nested
        for group in groups:
            if target[group] is None:
                target[group] = {}
            target = target[group]
        target[name] = value
    return config_from(nested, "")


def _leaves(
    values: Mapping[str, Any], where: str, kind: Any = Config, prefix: str = ""
) -> list[tuple[str, Any]]:
    """Ranges by dotted key, in their order; unknown keys are errors with a suggestion."""
    found: list[tuple[str, Any]] = []
    for key, node in values.items():
        name = f"{prefix}{key}"
        group = _group(name)
        if group is not None and isinstance(node, dict) and not is_range(node):
            found += _leaves(node, where, group, f"{name}.")
        elif name in SETTINGS and name not in _searchable():
            reason = SETTINGS[name].traits.unsearchable
            raise UsageError(f"{where}: {name} cannot be searched: {reason}")
        elif name in SETTINGS or (
            name.startswith(OPTIONS) and name.removeprefix(OPTIONS).isidentifier()
        ):
            found.append((name, node))
        else:
            raise UsageError(
                f"{where}: unknown key {name}{suggestion(name, _searchable())}; see epochal train --help"
            )
    return found


def _group(name: str) -> Any:
    """Return what holds further keys: a group of settings, or the optimizer's options."""
    if name == OPTIONS[:-1]:
        return dict
    return GROUPS.get(name)


def _searchable() -> list[str]:
    """Every key that may be searched, dotted."""
    return [key for key, setting in SETTINGS.items() if setting.traits.unsearchable is None]


def _check_names(names: list[str], where: str) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(f"{where}: {name} is given twice, nested or with dots; give it once")
        if whole := next((other for other in names if name.startswith(f"{other}.")), None):
            raise UsageError(
                f"{where}: {name} is a part of {whole}, which is given, too; give one of both"
            )


def _conditioned(one: Range, before: Space, where: str) -> Range:
    """A range whose conditions name ranges above it, by the very values that these have."""
    when = {}
    for parent, values in (one.when or {}).items():
        known = next((other for other in before if other.name == parent), None)
        if known is None:
            listed = ", ".join(other.name for other in before) or "none"
            raise UsageError(
                f"{where}: {one.name}: when {parent}: no range above it has that name; there are: {listed}"
            )
        when[parent] = tuple(
            _chosen(known, value, f"{where}: {one.name}: when {parent}") for value in values
        )
    return replace(one, when=when or None)


def _chosen(parent: Range, value: Any, where: str) -> Any:
    for one in parent.values:
        if one in (value, as_number(value)) and isinstance(one, bool) == isinstance(value, bool):
            return one
    listed = (
        f"its choices {list(parent.values)}"
        if parent.values
        else "its choices: it is a range of numbers"
    )
    raise UsageError(f"{where}: {value!r} is none of {listed}")


def _needed(one: Range, space: Space) -> dict[str, Any]:
    """Values of other ranges with which this one is searched."""
    needed: dict[str, Any] = {}
    for parent, values in (one.when or {}).items():
        needed |= {
            **_needed(next(other for other in space if other.name == parent), space),
            parent: values[0],
        }
    return needed


def _point(space: Space, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """A point of the space with some values fixed, the first of all other ranges."""
    values: dict[str, Any] = {}
    for one in space:
        if one.searched_with(values):
            values[one.name] = fixed[one.name] if one.name in fixed else one.extremes()[0]
    return values
