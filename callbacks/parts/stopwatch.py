"""A stopwatch that charges every moment to exactly one part."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from epochal.callbacks.parts.durations import Durations


class Stopwatch:
    """Charges the time that passes to one part after another, and keeps the durations of each.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.durations: defaultdict[str, Durations] = defaultdict(Durations)
        self._clock = clock
        self._part = ""
        self._since = clock()
        self._spent: dict[str, float] = {}

    def switch(self, part: str) -> str:
        """Charge the time until now to the current part, returned, and what follows to `part`."""
        now = self._clock()
        before = self._part
        self._spent[before] = self._spent.get(before, 0.0) + now - self._since
        self._part = part
        self._since = now
        return before

    def take(self, *parts: str) -> dict[str, float]:
        """Return the seconds charged since they were last taken to each part that had a turn."""
        return {part: self._spent.pop(part) for part in parts if part in self._spent}

    def close(self, part: str) -> None:
        """Keep what was charged to `part` as one of its durations, if it had a turn."""
        if part in self._spent:
            self.durations[part].add(self._spent.pop(part))

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Charge what is done within to `part` alone."""
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)
            self.close(part)

    def get_state(self) -> dict[str, Any]:
        """Return the durations as plain values."""
        return {part: durations.get_state() for part, durations in self.durations.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `get_state` returned."""
        self.durations.clear()
        for part, durations in state.items():
            self.durations[part].set_state(durations)
