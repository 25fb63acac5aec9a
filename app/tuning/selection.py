"""Selection of trials: the statistical test that drops one early, and the rules that pick the
winner.
"""

import math
import statistics
from collections.abc import Iterable, Sequence

from epochal.app.store.plan import Plan
from epochal.app.store.trials import COMPLETED, Trial

_ALPHA = 0.05  # of the one-sided paired test that drops a trial
_FEWEST = 2  # splits that it needs


def is_clearly_worse(scores: Sequence[float], best: Sequence[float], sign: int) -> bool:
    """Whether a trial's scores are worse than the best trial's on the same splits: Student's paired
    test, 5 %.

    Args:
        scores: of the splits done so far, in order.
        best: of all splits.
        sign: +1 where a larger score is better, -1 where a smaller one is.
    """
    deficits = []
    for score, best_score in zip(scores, best, strict=False):
        deficits.append(sign * (best_score - score))
    count = len(deficits)
    if count < _FEWEST:
        return False
    mean = statistics.mean(deficits)
    if mean <= 0:
        return False
    deviation = statistics.stdev(deficits)
    if deviation == 0:
        return True
    from scipy.stats import t

    error = deviation / math.sqrt(count)
    p_value = t.sf(mean / error, count - 1)
    return bool(p_value < _ALPHA)


def rank_completed(trials: Iterable[Trial], sign: int) -> list[Trial]:
    """Return the trials that were scored over all splits, best first; of equals the earlier one."""
    completed = []
    for trial in trials:
        if trial.status == COMPLETED and trial.score is not None:
            completed.append((-sign * trial.score, trial.name, trial))
    completed.sort(key=lambda ranked: ranked[:2])
    return [trial for _, _, trial in completed]


def select_winner(trials: Iterable[Trial], plan: Plan) -> Trial | None:
    """Return the best trial, or the one with the fewest weights within one standard error of it;
    None without any.

    The standard error is that of the best trial's mean over the splits (Breiman et al. 1984,
    section 3.4.3).
    """
    ranked = rank_completed(trials, plan.sign)
    if not ranked:
        return None
    best = ranked[0]
    splits = len(best.scores)
    if plan.select == "best" or splits < 2:
        return best
    error = statistics.stdev(best.scores) / math.sqrt(splits)
    smallest = best
    for trial in ranked:
        distance = abs((best.score or 0.0) - (trial.score or 0.0))
        is_smaller = (trial.weights or 0) < (smallest.weights or 0)
        if distance <= error and is_smaller:
            smallest = trial
    return smallest
