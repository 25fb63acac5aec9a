"""Where time goes: every moment belongs to exactly one part."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from epochal.callbacks.parts.durations import Durations


class Stopwatch:
    """Charges the time that passes to one part after another, and keeps the durations of each."""

    def __init__(self) -> None:
        self.durations: defaultdict[str, Durations] = defaultdict(Durations)
        self._part = ""
        self._since = monotonic()
        self._spent: dict[str, float] = {}

    def switch(self, part: str) -> str:
        """Charges what passed until now to the part so far, which it returns, and what follows to `part`."""
        now = monotonic()
        before = self._part
        self._spent[before] = self._spent.get(before, 0.0) + now - self._since
        self._part = part
        self._since = now
        return before

    def take(self, *parts: str) -> dict[str, float]:
        """Returns the seconds charged to each of the parts since they were last taken, if it had a turn."""
        return {part: self._spent.pop(part) for part in parts if part in self._spent}

    def close(self, part: str) -> None:
        """Keeps what was charged to `part` as one of its durations, if it had a turn."""
        for seconds in self.take(part).values():
            self.durations[part].add(seconds)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Charges what is done inside to `part` alone."""
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)
            self.close(part)

    def get_state(self) -> dict[str, Any]:
        """Returns the durations as plain values."""
        return {part: durations.get_state() for part, durations in self.durations.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what `get_state` returned."""
        self.durations.clear()
        for part, durations in state.items():
            self.durations[part].set_state(durations)
