"""Iterations and their parts in time: what bounds them, and what to do about it."""

import time
from collections.abc import Callable
from typing import Any

from epochal.callbacks.parts.stopwatch import Stopwatch

PARTS = ("input", "step", "callbacks")  # of an iteration
_BOUND = {"input": "data-bound", "step": "compute-bound", "callbacks": "callback-bound"}
_NAMES = {"input": "waiting for input", "step": "the step", "callbacks": "callbacks"}
_ADVICE = {
    "input": "keep images smaller or in memory, prefetch more batches or read from a faster disk",
    "step": "take smaller images or batches, a smaller model, mixed precision or more devices",
    "callbacks": "have callbacks act less often",
}


class IterationTimes(Stopwatch):
    """A stopwatch for iterations and their parts, each divided by the steps executed together.

    Iterations that trace the graph, the first and any after `retrace()`, are kept apart as
    `first_step`, undivided.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._first_batch = 0  # of the iteration that is open
        self._steps = 0  # that it executed; 0 where none is open
        self._is_traced = True

    def retrace(self) -> None:
        """Note that the graph is traced in the iteration that is open."""
        self._is_traced = True

    def begin_step(self, batch: int) -> None:
        """Close the iteration before, and open the next."""
        self.close_step()
        self._first_batch = batch

    def end_step(self, batch: int) -> None:
        """Note how many steps were executed; what follows still belongs to the iteration."""
        self._steps = batch + 1 - self._first_batch

    def close_step(self) -> None:
        """Keep the iteration's parts, if one is open."""
        if not self._steps:
            return
        spent = self.take(*PARTS)
        total = sum(spent.values())
        if self._is_traced:
            self.durations["first_step"].add(total)
        else:
            spent["iteration"] = total
            for part, seconds in spent.items():
                self.durations[part].add(seconds / self._steps, self._steps)
        self._steps = 0
        self._is_traced = False

    def median(self) -> float:
        """Return the seconds of an iteration."""
        return self.durations["iteration"].quantile(0.5)

    def shares(self) -> dict[str, float]:
        """Return the share of each part in the iterations, the largest first.

        Empty before there are any.
        """
        spent = {}
        for part in PARTS:
            if part in self.durations:
                spent[part] = self.durations[part].seconds
        total = sum(spent.values())
        if not total:
            return {}
        parts = sorted(spent, key=lambda part: spent[part], reverse=True)
        return {part: spent[part] / total for part in parts}

    def summary(self) -> dict[str, Any]:
        """Return what bounds the iterations, and each part's durations, as `Timing` writes them."""
        bound = None
        for part in self.shares():
            bound = _BOUND[part]
            break
        parts = {part: durations.summary() for part, durations in self.durations.items()}
        return {"bound": bound, "parts": parts}

    def warning(self, limit: float) -> str | None:
        """Return a line if the median is above `limit` seconds: how much, why, what would help."""
        shares = self.shares()
        median = self.median()
        if not shares or median <= limit:
            return None
        longest = next(iter(shares))
        words = []
        for part, share in shares.items():
            words.append(f"{_NAMES[part]} {share:.0%}")
        parts = ", ".join(words)
        return (
            f"an iteration takes {median * 1000:.0f} ms (median), "
            f"more than {limit * 1000:.0f} ms: "
            f"{_BOUND[longest]} ({parts}); {_ADVICE[longest]}"
        )
