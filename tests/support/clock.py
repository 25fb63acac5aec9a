"""A clock that stands still unless a test lets time pass."""


class Clock:
    """Returns the seconds that were reached by `advance`."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
