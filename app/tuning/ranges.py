"""Ranges of a search file: one line of it read as the values that one configuration field may
have.
"""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any, get_args

from epochal.app.config import SETTINGS
from epochal.app.config.checks import shortened
from epochal.app.errors import UsageError
from epochal.app.store.plan import KINDS, Kind, Range

OPTIONS = "optim.options."
_MOST = 10_000  # values that a step may leave
_MOST_CHOICES = 1_000  # a configuration of each is checked before anything runs
_EXAMPLE = "for instance when: {optimizer: sgd}"
_NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
_WHOLE = "[-+]?[0-9]{1,18}"


def read_range(name: str, node: Any, where: str) -> Range:
    """Return the range that a search file has for one field.

    Args:
        name: of the field, dotted.
        node: as `{"log": [1e-4, 1]}`.
        where: the search file, for messages.

    Raises:
        UsageError: one line for the first mistake.
    """
    prefix = f"{where}: {name}"
    kind = _read_kind(node, prefix)
    span = node[kind]
    when = None
    if "when" in node:
        when = _read_conditions(node["when"], prefix)
    if kind == "choice":
        if "step" in node:
            raise UsageError(f"{prefix}: a choice has no step; drop it, or give linear or int")
        choices = _read_choices(span, _number_types(name), prefix)
        return Range(
            name=name,
            kind="choice",
            values=choices,
            when=when,
        )
    _check_kind(name, kind, prefix)
    low, high = _read_bounds(kind, span, prefix)
    step = None
    if "step" in node:
        step = _read_step(
            kind,
            node["step"],
            high - low,
            prefix,
        )
    return Range(
        name=name,
        kind=kind,
        low=low,
        high=high,
        step=step,
        when=when,
    )


def _read_kind(node: Any, prefix: str) -> Kind:
    kinds = []
    if isinstance(node, dict) and is_range(node):
        kinds = [kind for kind in KINDS if kind in node]
    if len(kinds) != 1:
        expected = (
            "one of {log: [low, high]}, {linear: [low, high]}, {int: [low, high]}, {choice: [...]}"
        )
        raise UsageError(f"{prefix}: expected {expected}, got {_shown(node)}")
    return kinds[0]


def is_range(node: Mapping[str, Any]) -> bool:
    """Whether a mapping is one range, and not a section of further fields."""
    keys = set(node)
    return bool(keys & set(KINDS)) and keys <= {*KINDS, "step", "when"}


def _read_conditions(node: Any, prefix: str) -> dict[str, tuple[Any, ...]]:
    conditions = {}
    if isinstance(node, dict):
        for parent, values in node.items():
            if not isinstance(values, list):
                values = [values]
            conditions[str(parent)] = tuple(values)
    if not conditions or () in conditions.values():
        raise UsageError(
            f"{prefix}: when needs another range and its values, {_EXAMPLE}; got {_shown(node)}"
        )
    return conditions


def _read_choices(span: Any, number_types: set[Any], prefix: str) -> tuple[Any, ...]:
    if not isinstance(span, list) or not span:
        raise UsageError(f"{prefix}: choice needs a list of at least one value, got {_shown(span)}")
    if len(span) > _MOST_CHOICES:
        raise UsageError(
            f"{prefix}: {len(span):,} choices, expected at most {_MOST_CHOICES:,}; give a range as "
            "{linear: [low, high]}, or fewer"
        )
    values = list(span)
    if number_types:
        values = list(map(as_number, span))
    for value in values:
        if not _is_plain(value):
            raise UsageError(
                f"{prefix}: choices are numbers, words, true, false, null or lists of them, got "
                f"{_shown(value)}; put words that YAML takes for something else in quotes"
            )
    if float in number_types and set(map(type, values)) == {int, float}:
        values = list(map(float, values))  # KerasTuner's choices are of one type
    _check_distinct(values, prefix)
    return tuple(values)


def _check_distinct(values: list[Any], prefix: str) -> None:
    seen = set()
    for value in values:
        text = json.dumps(value, sort_keys=True)
        if text in seen:
            raise UsageError(
                f"{prefix}: {shortened(text)} is given twice among the choices; give it once"
            )
        seen.add(text)


def _check_kind(name: str, kind: str, prefix: str) -> None:
    types = _number_types(name)
    if not types:
        raise UsageError(
            f"{prefix}: is no number, got a range {kind}; give its values as {{choice: [...]}}"
        )
    if kind != "int" and float not in types:
        raise UsageError(
            f"{prefix}: is a whole number, got a range {kind}; give {{int: [low, high]}} or "
            f"{{choice: [...]}}"
        )


def _read_bounds(kind: str, span: Any, prefix: str) -> tuple[float, float]:
    ends = []
    if isinstance(span, list):
        ends = list(map(as_number, span))
    if len(ends) != 2 or not _is_real(ends[0]) or not _is_real(ends[1]):
        raise UsageError(f"{prefix}: {kind} needs two numbers, [low, high], got {_shown(span)}")
    low, high = ends
    shown = f"[{low:g}, {high:g}]"
    if low >= high:
        raise UsageError(f"{prefix}: the range {shown} is empty; the lower end comes first")
    if kind == "log" and low <= 0:
        raise UsageError(
            f"{prefix}: a log range cannot begin at {low:g}; begin above 0, for instance at 1e-6"
        )
    is_whole = low == int(low) and high == int(high)
    if kind == "int" and not is_whole:
        raise UsageError(f"{prefix}: int needs whole numbers, got {shown}")
    return low, high


def _read_step(kind: str, node: Any, width: float, prefix: str) -> float:
    shown = _shown(node)
    if kind == "log":
        raise UsageError(
            f"{prefix}: log has no step, got {shown}; drop it, or give the values as choice"
        )
    step = as_number(node)
    if not _is_real(step) or not 0 < step <= width:
        raise UsageError(f"{prefix}: step must be above 0 and at most {width:g}, got {shown}")
    if kind == "int" and step != int(step):
        raise UsageError(f"{prefix}: int needs a whole step, got {shown}")
    if kind == "linear" and width / step > _MOST:
        raise UsageError(
            f"{prefix}: a step of {step:g} leaves over {_MOST:,} values; give a larger one, or none"
        )
    return float(step)


def _number_types(name: str) -> set[Any]:
    """Return int, float, both or neither: the numbers that a field may hold.

    Of an optimizer's options all that is known is that numbers are among them.
    """
    numbers: set[Any] = {int, float}
    if name.startswith(OPTIONS):
        return numbers
    setting_type = SETTINGS[name].type
    members = get_args(setting_type) or (setting_type,)
    return numbers.intersection(members)


def as_number(value: Any) -> Any:
    """Return text that is a number to everybody but YAML 1.1, such as 1e-4, as that number; all
    else as it is.
    """
    if not isinstance(value, str) or not re.fullmatch(_NUMBER, value):
        return value
    if re.fullmatch(_WHOLE, value):
        return int(value)
    return float(value)


def _is_real(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold it."""
    if value is None or isinstance(value, bool | str):
        return True
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return False
        return all(map(_is_plain, value.values()))
    return _is_real(value)


def _shown(node: Any) -> str:
    """Return a piece of the file for a message."""
    return shortened(json.dumps(node, default=str, skipkeys=True))
