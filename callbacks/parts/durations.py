"""Many durations in little memory: their number, sum, and quantiles to half a percent."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

_SHORTEST = 1e-6  # seconds, in the first class
_RATIO = 1.01  # by which the durations of a class are longer than those of the class before


class Durations:
    """Counts durations in classes one percent wide: memory does not grow with their number."""

    def __init__(self) -> None:
        self.times = 0
        self.seconds = 0.0
        self._classes: Counter[int] = Counter()

    def add(self, seconds: float, times: int = 1) -> None:
        """Take in a duration that occurred `times` times."""
        self.times += times
        self.seconds += seconds * times
        place = math.log(max(seconds, _SHORTEST) / _SHORTEST) / math.log(_RATIO)
        self._classes[int(place)] += times

    def quantile(self, share: float) -> float:
        """Return the seconds that `share` of the durations do not exceed; 0.0 for no durations."""
        left = max(1, math.ceil(share * self.times))
        for place in sorted(self._classes):
            left -= self._classes[place]
            if left <= 0:
                return _SHORTEST * _RATIO ** (place + 0.5)
        return 0.0

    def summary(self) -> dict[str, float]:
        """Return what a table shows; seconds throughout."""
        return {
            "times": self.times,
            "median": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "total": self.seconds,
        }

    def get_state(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"seconds": self.seconds, "classes": sorted(self._classes.items())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `get_state` returned."""
        self.seconds = float(state["seconds"])
        self._classes = Counter()
        for place, times in state["classes"]:
            self._classes[int(place)] = int(times)
        self.times = self._classes.total()
