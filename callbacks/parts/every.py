"""Actions every so many epochs, steps or iterations."""


def require_at_least_one(name: str, value: int, unit: str) -> None:
    """Raise ValueError for a number of `unit`s, the argument `name`, that is below 1."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1 {unit}, got {value}.")


def passes_multiple(before: int, after: int, every: int) -> bool:
    """Return whether a multiple of `every` is above `before` and at most `after`.

    With counts before and after an event, such as an execution of several steps, that is whether
    the event brought the count to a multiple, or leapt over one. A count that stands still passes
    none.
    """
    return after // every > before // every
