"""Means over the latest steps, read off the running means that Keras keeps of an epoch."""

from collections.abc import Mapping, Sequence
from typing import Any


class Windows:
    """The mean of figures over the steps since they were last read, across the ends of epochs.

    Keras reports a figure's mean over the epoch so far. How a window moved that mean tells the window's own mean: no
    step's value has to be fetched.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.seen = 0  # steps since the last reading
        self._steps = 0  # of the epoch
        self._marks = dict.fromkeys(self.names, 0.0)  # sums over the epoch's steps before the last reading
        self._carried = dict.fromkeys(self.names, 0.0)  # sums of this window in earlier epochs

    def step(self) -> None:
        """Counts a step."""
        self.seen, self._steps = self.seen + 1, self._steps + 1

    def read(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Returns the mean since the last reading of each figure that is logged, and begins the next window."""
        totals = {name: float(logs.get(name, 0.0)) * self._steps for name in self.names}
        means = {name: (self._carried[name] + totals[name] - self._marks[name]) / self.seen for name in self.names}
        self.seen, self._marks, self._carried = 0, totals, dict.fromkeys(self.names, 0.0)
        return {name: mean for name, mean in means.items() if name in logs}

    def end_epoch(self, logs: Mapping[str, Any]) -> None:
        """Carries the unfinished window over: the means begin anew."""
        for name in self.names:
            self._carried[name] += float(logs.get(name, 0.0)) * self._steps - self._marks[name]
        self._steps, self._marks = 0, dict.fromkeys(self.names, 0.0)

    def get_state(self) -> dict[str, Any]:
        """Returns the window so far."""
        return {"seen": self.seen, "steps": self._steps, "marks": dict(self._marks), "carried": dict(self._carried)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self.seen, self._steps = int(state["seen"]), int(state["steps"])
        self._marks, self._carried = dict(state["marks"]), dict(state["carried"])
