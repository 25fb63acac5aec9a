"""What the groups of settings are checked with."""

import math
import re


def check(condition: bool, key: str, expected: str, received: object) -> None:
    """Raises ValueError in one line when a setting is not as expected."""
    if not condition:
        raise ValueError(
            f"{key} must be {expected}, got {'null' if received is None else repr(received)}"
        )


def is_number(value: float, least: float) -> bool:
    """Whether it is finite and not below `least`."""
    return math.isfinite(value) and value >= least


def pattern_fault(text: str) -> str | None:
    """What keeps it from being a regular expression; None where it is one."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return None


def duration(text: str) -> float | None:
    """Seconds in a duration such as 90s, 10m or 1h30m; None where it is none."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if parts is None or not text:
        return None
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds
