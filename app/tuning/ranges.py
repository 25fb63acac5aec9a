"""One range of a search: the values that one configuration key may have, read from its line in the file."""

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from epochal.app.config import SETTINGS
from epochal.app.errors import UsageError

Kind = Literal["log", "linear", "int", "choice"]
KINDS = ("log", "linear", "int", "choice")
OPTIONS = "optim.options."
_MOST = 10_000  # values that a step may leave
_EXAMPLE = "for instance when: {optimizer: sgd}"


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
    def listed(self) -> Sequence[Any] | None:
        """Every value, in order; None where they are real numbers without a step."""
        low = self.low or 0
        high = self.high or 0
        if self.kind == "choice":
            return self.values
        if self.kind == "int":
            return range(int(low), int(high) + 1, int(self.step or 1))
        if self.step is None:
            return None
        places = range(
            math.floor((high - low) / self.step + 1e-9) + 1
        )  # 0.3 / 0.1 is a little below 3
        return [float(f"{low + place * self.step:.12g}") for place in places]

    @property
    def points(self) -> float:
        """How many different values there are."""
        return math.inf if self.listed is None else len(self.listed)

    def searched_with(self, values: Mapping[str, Any]) -> bool:
        """Whether this range counts where the others have `values`."""
        return all(
            parent in values and values[parent] in those
            for parent, those in (self.when or {}).items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without what is not given."""
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}

    def extremes(self) -> tuple[Any, ...]:
        """Values that stand for all: what is wrong with a value is wrong with one of these."""
        if self.kind == "choice":
            return self.values
        ends = (self.low or 0, self.high or 0)
        return tuple(map(float, ends)) if self.listed is None else (self.listed[0], self.listed[-1])


def read_range(name: str, node: Any, where: str) -> Range:
    """The range that a search file gives for one key.

    Raises:
        UsageError: one line for the first mistake.
    """
    kinds = [kind for kind in KINDS if isinstance(node, dict) and kind in node]
    if len(kinds) != 1 or not is_range(node):
        expected = (
            "one of {log: [low, high]}, {linear: [low, high]}, {int: [low, high]}, {choice: [...]}"
        )
        raise UsageError(f"{where}: {name}: expected {expected}, got {_shown(node)}")
    kind = kinds[0]
    span = node[kinds[0]]
    when = _conditions(name, node["when"], where) if "when" in node else None
    if kind == "choice":
        if "step" in node:
            raise UsageError(
                f"{where}: {name}: a choice has no step; drop it, or give linear or int"
            )
        return Range(name=name, kind="choice", values=_choices(name, span, where), when=when)
    _check_kind(name, kind, where)
    low, high = _bounds(name, kind, span, where)
    step = _step(name, kind, node["step"], high - low, where) if "step" in node else None
    return Range(name=name, kind=kind, low=low, high=high, step=step, when=when)  # type: ignore[arg-type]


def is_range(node: Mapping[str, Any]) -> bool:
    """Whether a mapping is one range, and not a section of further keys."""
    return bool(set(node) & set(KINDS)) and set(node) <= {*KINDS, "step", "when"}


def _conditions(name: str, node: Any, where: str) -> dict[str, tuple[Any, ...]]:
    when = node if isinstance(node, dict) else {}
    found = {
        str(key): tuple(those) if isinstance(those, list) else (those,)
        for key, those in when.items()
    }
    if not found or not all(found.values()):
        raise UsageError(
            f"{where}: {name}: when needs another range and its values, {_EXAMPLE}; got {_shown(node)}"
        )
    return found


def _choices(name: str, span: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(span, list) or not span:
        raise UsageError(
            f"{where}: {name}: choice needs a list of at least one value, got {_shown(span)}"
        )
    numbers = _types(name) & {int, float}
    values = [as_number(value) if numbers else value for value in span]
    for value in values:
        if not _is_plain(value):
            raise UsageError(
                f"{where}: {name}: choices are numbers, words, true, false, null or lists of them, got "
                f"{_shown(value)}; put words that YAML takes for something else in quotes"
            )
    if float in numbers and {type(value) for value in values} == {int, float}:
        values = [float(value) for value in values]  # KerasTuner's choices are of one type
    texts = [json.dumps(value, sort_keys=True) for value in values]
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise UsageError(f"{where}: {name}: {twice} is given twice among the choices; give it once")
    return tuple(values)


def _check_kind(name: str, kind: str, where: str) -> None:
    types = _types(name)
    if not types & {int, float}:
        raise UsageError(
            f"{where}: {name}: is no number, got a range {kind}; give its values as {{choice: [...]}}"
        )
    if kind != "int" and float not in types:
        raise UsageError(
            f"{where}: {name}: is a whole number, got a range {kind}; give {{int: [low, high]}} or {{choice: [...]}}"
        )


def _bounds(name: str, kind: str, span: Any, where: str) -> tuple[float, float]:
    ends = [as_number(one) for one in span] if isinstance(span, list) else []
    if len(ends) != 2 or not all(_is_real(one) for one in ends):
        raise UsageError(
            f"{where}: {name}: {kind} needs two numbers, [low, high], got {_shown(span)}"
        )
    low, high = ends
    if low >= high:
        raise UsageError(
            f"{where}: {name}: the range [{low:g}, {high:g}] is empty; the lower end comes first"
        )
    if kind == "log" and low <= 0:
        raise UsageError(
            f"{where}: {name}: a log range cannot begin at {low:g}; begin above 0, for instance at 1e-6"
        )
    if kind == "int" and (low != int(low) or high != int(high)):
        raise UsageError(f"{where}: {name}: int needs whole numbers, got [{low:g}, {high:g}]")
    return low, high


def _step(name: str, kind: str, given: Any, width: float, where: str) -> float:
    step = as_number(given)
    if kind == "log":
        raise UsageError(
            f"{where}: {name}: log has no step, got {_shown(given)}; drop it, or give the values as choice"
        )
    if not _is_real(step) or not 0 < step <= width:
        raise UsageError(
            f"{where}: {name}: step must be above 0 and at most {width:g}, got {_shown(given)}"
        )
    if kind == "int" and step != int(step):
        raise UsageError(f"{where}: {name}: int needs a whole step, got {_shown(given)}")
    if kind == "linear" and width / step > _MOST:
        raise UsageError(
            f"{where}: {name}: a step of {step:g} leaves over {_MOST:,} values; give a larger one, or none"
        )
    return float(step)


def _types(name: str) -> set[Any]:
    """What a key's values may be; of the optimizer's options all that is known is that numbers are among them."""
    if name.startswith(OPTIONS):
        return {int, float}
    kind = SETTINGS[name].type
    return set(get_args(kind)) or {kind}


def as_number(value: Any) -> Any:
    """Text that is a number to everybody but YAML 1.1, such as 1e-4, as that number; all else as it is."""
    if not isinstance(value, str) or not re.fullmatch(
        r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", value
    ):
        return value
    return int(value) if re.fullmatch("[-+]?[0-9]{1,18}", value) else float(value)


def _is_real(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    )


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold it."""
    if isinstance(value, list):
        return all(_is_plain(one) for one in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    return value is None or isinstance(value, bool | str) or _is_real(value)


def _shown(node: Any) -> str:
    """A piece of the file in a message."""
    return json.dumps(node, default=str, skipkeys=True)
