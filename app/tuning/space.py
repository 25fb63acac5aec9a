"""The search space: ranges of configuration fields, read from a file and checked before anything
runs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from epochal.app.config import SETTINGS, Config
from epochal.app.config.checks import shortened
from epochal.app.config.files import read_yaml
from epochal.app.config.keys import GROUPS
from epochal.app.config.load import config_from
from epochal.app.config.policies import expand_policy
from epochal.app.errors import UsageError, suggestion
from epochal.app.store.plan import Range, Space
from epochal.app.tuning.ranges import OPTIONS, as_number, is_range, read_range

_MOST_RANGES = 100
_EXAMPLE = "ranges; give one, for instance learning_rate: {log: [1e-3, 1]}"


def read_search(path: Path, base: Config) -> Space:
    """Return the ranges in a search file; see `read_space`.

    Raises:
        UsageError: naming the file and what is wrong in it.
    """
    return read_space(read_yaml(path, _EXAMPLE), str(path), base)


def read_space(values: Mapping[str, Any], where: str, base: Config) -> Space:
    """Return the ranges in a search file's mapping, nested as a configuration is, or with dotted
    names.

    Args:
        values: as `{"learning_rate": {"log": [1e-4, 1]}, "optim": {"weight_decay": {"choice": [0,
            1e-4]}}}`.
        where: the file, for messages.
        base: the configuration that the ranges change; every corner has to make a valid one with
            it.

    Raises:
        UsageError: one line for the first mistake.
    """
    nodes = _range_nodes(values, where)
    if not nodes:
        raise UsageError(f"{where}: holds no {_EXAMPLE}")
    if len(nodes) > _MOST_RANGES:
        raise UsageError(f"{where}: {len(nodes):,} ranges, expected at most {_MOST_RANGES}")
    _check_names([name for name, _ in nodes], where)
    space: Space = ()
    for name, node in nodes:
        searched = read_range(name, node, where)
        space += (_resolve_conditions(searched, space, where),)
    for corner in corners(space):
        try:
            changed(base, corner)
        except UsageError as error:
            message = str(error).removesuffix("; see epochal train --help")
            raise UsageError(f"{where}: {message}") from error
    return space


def count_points(space: Space, values: Mapping[str, Any] | None = None) -> float:
    """Return the number of different configurations in a space; infinite with a range of real
    numbers.

    Args:
        space: or the rest of it.
        values: of the ranges before that rest, on which others in it may depend.
    """
    if not space:
        return 1
    values = values or {}
    first = space[0]
    rest = space[1:]
    if not first.is_active(values):
        return count_points(rest, values)
    is_parent = False
    for other in rest:
        if other.when and first.name in other.when:
            is_parent = True
    if not is_parent:
        return first.count * count_points(rest, values)
    count = 0.0
    for value in first.values:
        count += count_points(rest, {**values, first.name: value})
    return count


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Yield points of the space in which every range has each of its extremes at least once."""
    seen = set()
    for searched in space:
        fixed = _values_needed(searched, space)
        for value in searched.extremes():
            fixed[searched.name] = value
            point = _point_with(fixed, space)
            text = json.dumps(point)
            if text not in seen:
                seen.add(text)
                yield point


def changed(base: Config, values: Mapping[str, Any]) -> Config:
    """Return the configuration with other values by dotted name.

    Raises:
        UsageError: when it is not valid.
    """
    nested = asdict(base)
    for name, value in expand_policy(values).items():
        node = nested
        *groups, last = name.split(".")
        for group in groups:
            if node[group] is None:
                node[group] = {}
            node = node[group]
        node[last] = value
    return config_from(nested, "")


def _range_nodes(values: Mapping[str, Any], where: str, prefix: str = "") -> list[tuple[str, Any]]:
    """Return what stands for each field, by its dotted name, in order; unknown names are errors."""
    nodes: list[tuple[str, Any]] = []
    for key, node in values.items():
        name = f"{prefix}{key}"
        is_group = name in GROUPS or f"{name}." == OPTIONS
        if is_group and isinstance(node, dict) and not is_range(node):
            nodes += _range_nodes(node, where, f"{name}.")
        else:
            _check_searchable(name, where)
            nodes.append((name, node))
    return nodes


def _check_searchable(name: str, where: str) -> None:
    option = name.removeprefix(OPTIONS)
    if option != name and option.isidentifier():
        return
    if name not in SETTINGS:
        hint = suggestion(name, _searchable_names())
        raise UsageError(f"{where}: unknown key {shortened(name)}{hint}; see epochal train --help")
    reason = SETTINGS[name].traits.unsearchable
    if reason is not None:
        raise UsageError(f"{where}: {name} cannot be searched: {reason}")


def _searchable_names() -> list[str]:
    names = []
    for name, setting in SETTINGS.items():
        if setting.traits.unsearchable is None:
            names.append(name)
    return names


def _check_names(names: list[str], where: str) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(f"{where}: {name} is given twice, nested or with dots; give it once")
        for other in names:
            if name.startswith(f"{other}."):
                raise UsageError(
                    f"{where}: {name} is a part of {other}, which is given, too; give one of both"
                )


def _resolve_conditions(searched: Range, before: Space, where: str) -> Range:
    """Return a range whose conditions name ranges above it, by the very values that these have."""
    if not searched.when:
        return replace(searched, when=None)
    above = {other.name: other for other in before}
    when = {}
    for name, values in searched.when.items():
        prefix = f"{where}: {searched.name}: when {name}"
        parent = above.get(name)
        if parent is None:
            names = ", ".join(above) or "none"
            raise UsageError(f"{prefix}: no range above it has that name; there are: {names}")
        choices = [
            _find_choice(
                parent,
                value,
                prefix,
            )
            for value in values
        ]
        when[name] = tuple(choices)
    return replace(searched, when=when)


def _find_choice(parent: Range, value: Any, prefix: str) -> Any:
    number = as_number(value)
    for choice in parent.values:
        is_equal = choice in (value, number)
        if is_equal and isinstance(choice, bool) == isinstance(value, bool):
            return choice
    choices = "its choices: it is a range of numbers"
    if parent.values:
        choices = f"its choices {shortened(str(list(parent.values)))}"
    raise UsageError(f"{prefix}: {shortened(repr(value))} is none of {choices}")


def _values_needed(searched: Range, space: Space) -> dict[str, Any]:
    """Return values of other ranges with which this one is active."""
    ranges = {other.name: other for other in space}
    needed: dict[str, Any] = {}
    for parent, values in (searched.when or {}).items():
        needed |= _values_needed(ranges[parent], space)
        needed[parent] = values[0]
    return needed


def _point_with(fixed: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return a point of the space with some values fixed, and the first extreme of all other active
    ranges.
    """
    point: dict[str, Any] = {}
    for searched in space:
        if not searched.is_active(point):
            continue
        name = searched.name
        first = searched.extremes()[0]
        point[name] = fixed.get(name, first)
    return point
