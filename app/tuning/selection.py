"""Which trials are given up, and which one wins."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from epochal.app.tuning.plan import Plan

_ALPHA = 0.05  # of the one-sided paired test that drops a trial
_FEWEST = 2  # splits that it needs


def clearly_worse(scores: Sequence[float], best: Sequence[float], monitor: str) -> bool:
    """Whether a trial's scores are worse than the best trial's on the same splits: Student's paired test, 5 %.

    Args:
        scores: of the splits done so far, in order.
        best: of all splits.
        monitor: val_accuracy (more is better) or val_loss.
    """
    sign = _sign(monitor)
    lacks = [sign * (theirs - own) for own, theirs in zip(scores, best, strict=False)]
    if len(lacks) < _FEWEST or statistics.mean(lacks) <= 0:
        return False
    deviation = statistics.stdev(lacks)
    if deviation == 0:
        return True
    from scipy.stats import t

    return bool(
        t.sf(statistics.mean(lacks) / (deviation / math.sqrt(len(lacks))), len(lacks) - 1) < _ALPHA
    )


def ranked(trials: Sequence[Mapping[str, Any]], monitor: str) -> list[Mapping[str, Any]]:
    """The trials that were scored over all splits, best first; of equals the earlier one."""
    done = [trial for trial in trials if trial["status"] == "completed"]
    return sorted(done, key=lambda trial: (-_sign(monitor) * trial["score"], trial["trial"]))


def winner(trials: Sequence[Mapping[str, Any]], plan: Plan) -> Mapping[str, Any] | None:
    """The best trial, or the one with the fewest weights within one standard error of it; None without any.

    The standard error is that of the best trial's mean over the splits (Breiman et al. 1984, section 3.4.3).
    """
    order = ranked(trials, plan.monitor)
    if not order or plan.select == "best" or len(order[0]["scores"]) < 2:
        return order[0] if order else None
    best = order[0]
    error = statistics.stdev(best["scores"]) / math.sqrt(len(best["scores"]))
    near = [one for one in order if abs(best["score"] - one["score"]) <= error]
    return min(near, key=lambda one: one["weights"])


def _sign(monitor: str) -> int:
    return -1 if monitor == "val_loss" else 1
