"""The time of iterations, in parts: what bounds them, and what to do about it."""

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


class Iterations(Stopwatch):
    """A stopwatch that knows iterations: their parts, each divided by the steps that were executed together.

    Those that trace the graph, the first and any after `retrace()`, are kept apart as `first_step`, whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begin = self._steps = 0
        self._traced = True

    def retrace(self) -> None:
        """Notes that the graph is traced in the iteration that is open."""
        self._traced = True

    def begin_step(self, batch: int) -> None:
        """Closes the iteration before."""
        self.close_step()
        self._begin = batch

    def end_step(self, batch: int) -> None:
        """Notes how many steps were executed; what follows still belongs to the iteration."""
        self._steps = batch + 1 - self._begin

    def close_step(self) -> None:
        """Keeps the iteration's parts, if one is open."""
        if not self._steps:
            return
        spent = self.take(*PARTS)
        whole = sum(spent.values())
        if self._traced:
            self.durations["first_step"].add(whole)
        else:
            for part, seconds in (spent | {"iteration": whole}).items():
                self.durations[part].add(seconds / self._steps, self._steps)
        self._steps = 0
        self._traced = False

    def median(self) -> float:
        """Returns the seconds of an iteration."""
        return self.durations["iteration"].quantile(0.5)

    def shares(self) -> dict[str, float]:
        """Returns the share of each part in the iterations, the largest first; empty before there are any."""
        spent = {part: self.durations[part].seconds for part in PARTS if part in self.durations}
        whole = sum(spent.values())
        return {
            part: spent[part] / whole
            for part in sorted(spent, key=spent.__getitem__, reverse=True)
            if whole
        }

    def summary(self) -> dict[str, Any]:
        """Returns what bounds the iterations, and each part's number, median, 95th percentile and total in seconds."""
        found = [_BOUND[part] for part in self.shares()]
        parts = {part: durations.summary() for part, durations in self.durations.items()}
        return {"bound": found[0] if found else None, "parts": parts}

    def warning(self, limit: float) -> str | None:
        """Returns a line if the median is above `limit` seconds: how much, why, and what would help."""
        shares = self.shares()
        if not shares or self.median() <= limit:
            return None
        longest = next(iter(shares))
        parts = ", ".join(f"{_NAMES[part]} {share:.0%}" for part, share in shares.items())
        return (
            f"an iteration takes {self.median() * 1000:.0f} ms (median), more than {limit * 1000:.0f} ms: "
            f"{_BOUND[longest]} ({parts}); {_ADVICE[longest]}"
        )
