"""What a sweep searches: ranges of configuration keys, read from a file and checked before anything runs."""

import json
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal

from app.arguments import config_from
from app.config import Config
from app.errors import UsageError, suggestion
from app.settings.checks import is_number

Kind = Literal["log", "linear", "int", "choice"]
_KINDS = ("log", "linear", "int", "choice")
_OPTIONS = "optim.options."
_GIVEN = ("name", "data_dir", "budget", "data.split", "stopping.after", "init_from", "devices")  # by the sweep or once


@dataclass(frozen=True, kw_only=True)
class Range:
    """What one configuration key may be: from `low` to `high` (both included), or one of `values`.

    `when` holds, for other ranges by name, the values with which this one is searched at all.
    """

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    values: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] | None = None

    @property
    def points(self) -> float:
        """How many different values there are."""
        if self.kind == "choice":
            return len(self.values)
        if self.low is None or self.high is None or (self.kind != "int" and self.step is None):
            return math.inf
        return math.floor((self.high - self.low) / (self.step or 1)) + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without what is not given."""
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}

    def extremes(self) -> tuple[Any, ...]:
        """Values that stand for all: what is wrong with a value is wrong with one of these."""
        if self.kind == "choice":
            return self.values
        return (self.low, self.high) if self.kind != "int" else (int(self.low or 0), int(self.high or 0))


Space = tuple[Range, ...]


def read_space(values: Mapping[str, Any], where: str, base: Config) -> Space:
    """The ranges in a search file's mapping, nested as a configuration is, or with dotted keys.

    Args:
        values: as `{"learning_rate": {"log": [1e-4, 1]}, "optim": {"weight_decay": {"choice": [0, 1e-4]}}}`.
        where: the file, for messages.
        base: what the ranges change; every extreme has to make a valid configuration with it.

    Raises:
        UsageError: one line for the first mistake.
    """
    space = tuple(_range(name, node, where) for name, node in _leaves(values, where))
    if not space:
        raise UsageError(f"{where}: holds no ranges; give one, for instance learning_rate: {{log: [1e-3, 1]}}")
    for place, one in enumerate(space):
        _check_conditions(one, space[:place], where)
    for one in space:
        for value in one.extremes():
            changed(base, {**_needed(one, space), one.name: value})
    return space


def from_dicts(values: Sequence[Mapping[str, Any]]) -> Space:
    """The ranges that `to_dict` gave."""
    return tuple(
        Range(
            **{
                **one,
                "values": tuple(one.get("values", ())),
                "when": {key: tuple(those) for key, those in one["when"].items()} if "when" in one else None,
            }
        )
        for one in values
    )


def points(space: Space) -> float:
    """How many different configurations a space holds, at most; infinite with a range of real numbers."""
    return math.prod(one.points for one in space)


def changed(base: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values by dotted key.

    Raises:
        UsageError: when it is not valid.
    """
    nested: dict[str, Any] = deepcopy(base.to_dict())
    for name, value in values.items():
        *groups, last = name.split(".")
        node = nested
        for group in groups:
            node[group] = node[group] or {}
            node = node[group]
        node[last] = value
    return config_from(nested, "the search")


def _leaves(values: Mapping[str, Any], where: str, kind: Any = Config, prefix: str = "") -> list[tuple[str, Any]]:
    """Ranges by dotted key, in their order; unknown keys are errors with a suggestion."""
    found: list[tuple[str, Any]] = []
    for key, node in values.items():
        name = f"{prefix}{key}"
        group = _group(name)
        if group is not None and isinstance(node, dict) and not _is_range(node):
            found += _leaves(node, where, group, f"{name}.")
        elif name in _known() or name.startswith(_OPTIONS):
            found.append((name, node))
        else:
            raise UsageError(f"{where}: unknown key {name}{suggestion(name, _known())}; see epochal train --help")
    return found


def _group(name: str) -> Any:
    """What holds further keys: a section of the configuration, or the optimizer's options."""
    if name == _OPTIONS[:-1]:
        return dict
    return next((one.type for one in fields(Config) if one.name == name and is_dataclass(one.type)), None)


def _known() -> list[str]:
    """Every key that may be searched, dotted."""
    names = []
    for field in fields(Config):
        inner = field.type
        names += [f"{field.name}.{one.name}" for one in fields(inner)] if is_dataclass(inner) else [field.name]
    return [name for name in names if name not in _GIVEN]


def _is_range(node: Mapping[str, Any]) -> bool:
    return bool(set(node) & set(_KINDS)) and set(node) <= {*_KINDS, "step", "when"}


def _range(name: str, node: Any, where: str) -> Range:
    kinds = [kind for kind in _KINDS if isinstance(node, dict) and kind in node]
    if len(kinds) != 1 or not _is_range(node):
        expected = "one of {log: [low, high]}, {linear: [low, high]}, {int: [low, high]}, {choice: [...]}"
        raise UsageError(f"{where}: {name}: expected {expected}, got {json.dumps(node, default=str)}")
    kind, span = kinds[0], node[kinds[0]]
    when = (
        {key: tuple(v) if isinstance(v, list) else (v,) for key, v in node["when"].items()} if "when" in node else None
    )
    if kind == "choice":
        if not isinstance(span, list) or not span or "step" in node:
            raise UsageError(f"{where}: {name}: choice needs a list of at least one value, got {json.dumps(node)}")
        return Range(name=name, kind="choice", values=tuple(span), when=when)
    low, high = _bounds(name, kind, span, where)
    step = node.get("step")
    if step is not None and not (is_number(step, 0) and 0 < step <= high - low and kind != "log"):
        raise UsageError(
            f"{where}: {name}: step must be above 0 and at most {high - low:g}, and not with log; got {step}"
        )
    return Range(name=name, kind=kind, low=low, high=high, step=step, when=when)  # type: ignore[arg-type]


def _bounds(name: str, kind: str, span: Any, where: str) -> tuple[float, float]:
    numbers = isinstance(span, list) and len(span) == 2 and all(_is_real(one) for one in span)
    if not numbers:
        raise UsageError(f"{where}: {name}: {kind} needs two numbers, [low, high], got {json.dumps(span, default=str)}")
    low, high = span
    if low >= high:
        raise UsageError(f"{where}: {name}: the range [{low:g}, {high:g}] is empty; the lower end comes first")
    if kind == "log" and low <= 0:
        raise UsageError(f"{where}: {name}: a log range cannot begin at {low:g}; begin above 0, for instance at 1e-6")
    if kind == "int" and (low != int(low) or high != int(high)):
        raise UsageError(f"{where}: {name}: int needs whole numbers, got [{low:g}, {high:g}]")
    return low, high


def _needed(one: Range, space: Space) -> dict[str, Any]:
    """Values of other ranges with which this one is searched."""
    needed: dict[str, Any] = {}
    for parent, values in (one.when or {}).items():
        needed |= {**_needed(next(other for other in space if other.name == parent), space), parent: values[0]}
    return needed


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_conditions(one: Range, before: Space, where: str) -> None:
    names = [other.name for other in before]
    for parent, values in (one.when or {}).items():
        if parent not in names:
            listed = ", ".join(names) or "none"
            raise UsageError(
                f"{where}: {one.name}: when {parent}: no range above it has that name; there are: {listed}"
            )
        known = next(other for other in before if other.name == parent)
        for value in values:
            if known.kind != "choice" or value not in known.values:
                raise UsageError(f"{where}: {one.name}: when {parent}: {value!r} is none of its choices {known.values}")
