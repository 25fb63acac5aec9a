"""Many durations in little memory: their number, sum, and quantiles to half a percent."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

_LEAST = 1e-6
_RATIO = 1.01  # seconds of the first class, and how much longer each next one is


class Durations:
    """Counts durations in classes that are one percent wide, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self.times = 0
        self.seconds = 0.0
        self._classes: Counter[int] = Counter()

    def add(self, seconds: float, times: int = 1) -> None:
        """Takes in a duration that occurred so many times."""
        self.times = self.times + times
        self.seconds = self.seconds + seconds * times
        self._classes[int(math.log(max(seconds, _LEAST) / _LEAST) / math.log(_RATIO))] += times

    def quantile(self, share: float) -> float:
        """Returns the duration, in seconds, that this share of them does not exceed; 0.0 where there is none."""
        rest = max(1, math.ceil(share * self.times))
        for place in sorted(self._classes):
            rest -= self._classes[place]
            if rest <= 0:
                return _LEAST * _RATIO ** (place + 0.5)
        return 0.0

    def summary(self) -> dict[str, float]:
        """Returns what a table shows; seconds throughout."""
        quantiles = {"median": self.quantile(0.5), "p95": self.quantile(0.95)}
        return {"times": self.times, **quantiles, "total": self.seconds}

    def get_state(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {"seconds": self.seconds, "classes": sorted(self._classes.items())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self.seconds = float(state["seconds"])
        self._classes = Counter({int(place): int(times) for place, times in state["classes"]})
        self.times = self._classes.total()
