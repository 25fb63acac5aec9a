"""Plans of sweeps: the ranges that are searched, the algorithm, and the splits that score.

No TensorFlow here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any, Literal

from epochal.app.config.splits import Splits
from epochal.app.errors import UsageError

Kind = Literal["log", "linear", "int", "choice"]
KINDS: tuple[Kind, ...] = ("log", "linear", "int", "choice")
ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
SELECTS = ("best", "one-se")
MONITORS = ("val_accuracy", "val_loss", "val_macro_f1")
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that one configuration field may have.

    They go from `low` to `high` (both included), or are listed in `values`. `name` is the field's
    dotted name. `when` holds, for other ranges by name, the values with which this one is searched
    at all.
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
        count = math.floor((high - low) / self.step + 1e-9) + 1  # 0.3 / 0.1 is a little below 3
        return [float(f"{low + place * self.step:.12g}") for place in range(count)]

    @property
    def count(self) -> float:
        """The number of different values; infinite for real numbers."""
        if self.listed is None:
            return math.inf
        return len(self.listed)

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether this range is searched where the ranges before it have `values`."""
        for parent, allowed in (self.when or {}).items():
            if parent not in values or values[parent] not in allowed:
                return False
        return True

    def extremes(self) -> tuple[Any, ...]:
        """Return values that stand for all.

        A value that is not allowed is one of these, if there is any.
        """
        if self.kind == "choice":
            return self.values
        if self.listed is None:
            return (float(self.low or 0), float(self.high or 0))
        return (self.listed[0], self.listed[-1])

    def index_of(self, value: Any) -> int | None:
        """Return the place of a value among the choices, None where it is none of them.

        1.0 is 1, but True is not.
        """
        for place, choice in enumerate(self.values):
            if isinstance(choice, bool) == isinstance(value, bool) and choice == value:
                return place
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without what is not set."""
        values = {}
        for name, value in asdict(self).items():
            if value not in (None, ()):
                values[name] = value
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Range":
        """Return the range that `to_dict` described.

        Raises:
            TypeError, KeyError, AttributeError, ValueError: the values are no range.
        """
        when = None
        if "when" in values:
            when = {parent: tuple(allowed) for parent, allowed in values["when"].items()}
        choices = tuple(values.get("values", ()))
        if values["kind"] not in KINDS or not isinstance(values["name"], str):
            raise ValueError(f"no range: {values['kind']!r} of {values['name']!r}")
        for name in ("low", "high", "step"):
            if type(values.get(name)) not in (int, float, NoneType):
                raise ValueError(f"{name}: expected a number, got {values[name]!r}")
        return cls(**{**values, "values": choices, "when": when})


Space = tuple[Range, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The decisions of a sweep, made once and stored in its folder.

    Args:
        space: the ranges that are searched.
        algorithm: one of `ALGORITHMS`, which proposes trials.
        trials: the largest number of trials.
        splits: the images that validate, in words as `epochal.app.config.splits.Splits` reads them.
        select: "best" for the best score, "one-se" for the smallest network within a standard error
            of it.
        seed: of the proposals.
        monitor: a trial's score at its best epoch: one of `MONITORS`.
    """

    space: Space
    algorithm: str = "random"
    trials: int = 20
    splits: str = "holdout"
    select: str = "best"
    seed: int = 0
    monitor: str = "val_accuracy"

    @property
    def sign(self) -> int:
        """+1 where a larger score is better, -1 where a smaller one is."""
        if self.monitor == "val_loss":
            return -1
        return 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {"schema": SCHEMA, **self.__dict__}
        values["space"] = [searched.to_dict() for searched in self.space]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """Return the plan that `to_dict` described, also in the form without a schema.

        Raises:
            TypeError, KeyError, AttributeError, ValueError: the values are no plan.
        """
        fields = {}
        for name in cls.__dataclass_fields__:
            if name in values:
                fields[name] = values[name]
        fields["space"] = tuple(Range.from_dict(stored) for stored in values["space"])
        plan = cls(**fields)
        plan._check_decisions()
        return plan

    def _check_decisions(self) -> None:
        """Refuse what no command could have decided.

        Raises:
            ValueError: naming the value.
        """
        is_known = (
            self.algorithm in ALGORITHMS and self.select in SELECTS and self.monitor in MONITORS
        )
        if not is_known:
            raise ValueError(f"unknown: {self.algorithm}, {self.select} or {self.monitor}")
        for number in (self.trials, self.seed):
            if type(number) is not int or number < 0:
                raise ValueError(f"expected a whole number, got {number!r}")
        try:
            Splits.of(self.splits)
        except UsageError as error:
            raise ValueError(str(error)) from error

    def check(self, where: str) -> None:
        """Refuse ranges that the algorithm cannot use; `where` is the search file, for messages.

        Raises:
            UsageError: naming the range.
        """
        for searched in self.space:
            if self.algorithm == "hyperband" and searched.name == "epochs":
                raise UsageError(
                    f"{where}: epochs cannot be searched by hyperband, which decides itself how "
                    "long a trial is trained; drop it and give --epochs, or another --algorithm"
                )
            if self.algorithm == "grid" and searched.listed is None:
                step = ", or a step"
                if searched.kind == "log":
                    step = ""
                raise UsageError(
                    f"{where}: {searched.name}: grid needs a countable range, got {searched.kind} "
                    f"over all real numbers; give choice{step}, or --algorithm random"
                )

    def check_same(self, space: Space, where: str) -> None:
        """Refuse to resume with another search space.

        Raises:
            UsageError: naming the ranges that differ.
        """
        planned = {searched.name: searched for searched in self.space}
        requested = {searched.name: searched for searched in space}
        differing = []
        for name in sorted(planned.keys() | requested.keys()):
            if planned.get(name) != requested.get(name):
                differing.append(name)
        if differing:
            raise UsageError(
                f"{where} was made by another search space (differing: {', '.join(differing)}); "
                "leave --search out, or start a new sweep"
            )
