"""What a sweep is: decided once, stored in its folder."""

from dataclasses import dataclass
from typing import Any

from epochal.app.errors import UsageError
from epochal.app.tuning.space import Space, from_dicts

ALGORITHMS = ("random", "bayesian", "hyperband", "grid")
SELECTS = ("best", "one-se")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many trials of what, scored how.

    Args:
        space: what is searched.
        algorithm: which of KerasTuner's oracles proposes.
        trials: at most so many.
        splits: the images that validate, as app.data.folds reads it.
        select: the best score, or the smallest network within a standard error of it.
        seed: of the proposals.
        monitor: val_accuracy or val_loss, at the best epoch.
    """

    space: Space
    algorithm: str = "random"
    trials: int = 20
    splits: str = "holdout"
    select: str = "best"
    seed: int = 0
    monitor: str = "val_accuracy"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        own = {key: value for key, value in self.__dict__.items() if key != "space"}
        return {**own, "space": [one.to_dict() for one in self.space]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Plan":
        """The inverse of `to_dict`."""
        return cls(**{**values, "space": from_dicts(values["space"])})

    def check(self, where: str) -> None:
        """Refuses, naming the search file `where`, ranges that the algorithm has no use for."""
        for one in self.space:
            if self.algorithm == "hyperband" and one.name == "epochs":
                raise UsageError(
                    f"{where}: epochs cannot be searched by hyperband, which decides itself how long a trial is "
                    "trained; drop it and give --epochs, or another --algorithm"
                )
            if self.algorithm == "grid" and one.listed is None:
                step = "" if one.kind == "log" else ", or a step"
                raise UsageError(
                    f"{where}: {one.name}: grid needs a countable range, got {one.kind} over all real numbers; "
                    f"give choice{step}, or --algorithm random"
                )

    def check_same(self, other: Space, where: str) -> None:
        """Refuses to go on with another search space, naming the keys that differ."""
        own, theirs = ({one.name: one for one in space} for space in (self.space, other))
        if differing := sorted(
            key for key in own.keys() | theirs.keys() if own.get(key) != theirs.get(key)
        ):
            raise UsageError(
                f"{where} was made by another search space (differing: {', '.join(differing)}); leave --search out, "
                "or start a new sweep"
            )
