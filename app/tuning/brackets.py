"""Brackets of Hyperband, in which trials begin short and the best go on (Li et al. 2018, JMLR 18,
arXiv:1603.06560).

KerasTuner's own wait for as many trials as were planned: once one fails, or the space has fewer
points, none reaches the last rung.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from epochal.app.store.plan import Plan
from epochal.app.tuning.space import count_points

FACTOR = 3  # of epochs from one rung to the next; as many trials share one place in the next


@dataclass
class Bracket:
    """Rungs of trials: the best third of each goes on in the next one, for more epochs."""

    size: int
    """The number of trials in the first rung; fewer once the space has no point left."""
    epochs: Sequence[int]
    """After which the trials of each rung end."""
    rungs: list[list[str]] = field(init=False)
    """The trials of each rung, in the order in which they were proposed."""
    promoted: set[str] = field(init=False, default_factory=set)
    """The trials that another one goes on from."""

    def __post_init__(self) -> None:
        self.rungs = [[] for _ in self.epochs]

    @property
    def trial_count(self) -> int:
        """The number of trials in all rungs, if none fails."""
        count = 0
        size = self.size
        for _ in self.epochs:
            count += size
            size = _places(size)
        return count

    def best_to_promote(self, scores: Mapping[str, float]) -> tuple[int, str] | None:
        """Return a rung and the trial in it that goes on, once it is sure to be among the best
        third; None while there is none.

        Args:
            scores: of the trials that ended, the largest the best; minus infinity of a failed one.
        """
        size = self.size
        for rung, trials in enumerate(self.rungs[:-1]):
            waiting = []
            failures = 0
            for trial in trials:
                if trial in self.promoted or trial not in scores:
                    continue
                waiting.append(trial)
                failures += scores[trial] == -math.inf
            is_sure = len(waiting) > size - _places(size)
            if is_sure and failures < len(waiting):
                return rung, max(waiting, key=scores.__getitem__)
            size = min(_places(size), size - failures)
        return None


def plan_pass(epochs: int) -> list[Bracket]:
    """Return the brackets of one pass, that of the most and shortest trials first.

    Args:
        epochs: that the best trials are trained.
    """
    rungs = 1
    while FACTOR**rungs <= epochs:
        rungs += 1
    longest = 1  # trials that a bracket of a single rung has: one more than divisions by FACTOR
    while FACTOR ** (longest - 1) < epochs:
        longest += 1
    brackets = []
    for last in reversed(range(rungs)):
        ends = []
        for divisions in reversed(range(last + 1)):
            ends.append(math.ceil(epochs / FACTOR**divisions))
        size = math.ceil(longest * FACTOR**last / (last + 1))
        brackets.append(Bracket(size=size, epochs=ends))
    return brackets


def count_trials(plan: Plan, epochs: int) -> int:
    """Return the number of trials that Hyperband makes if none fails: those of whole passes, at
    least one.

    No point begins twice: in a small space some brackets are smaller, and the rest are left out.
    """
    brackets = plan_pass(epochs)
    trials_a_pass = sum(bracket.trial_count for bracket in brackets)
    passes = max(1, plan.trials // trials_a_pass)
    points = count_points(plan.space)
    count = 0
    for bracket in brackets * passes:
        size = int(min(bracket.size, points))
        points -= size
        count += replace(bracket, size=size).trial_count
    return count


def _places(size: int) -> int:
    """Return how many trials of a rung go on."""
    return math.ceil(size / FACTOR)
