"""Checks of settings: one line for what was expected and what came."""

import math
import re

_LONGEST = 60  # characters of a value in a message


def check(condition: bool, key: str, expected: str, received: object) -> None:
    """Raise ValueError in one line unless the condition holds."""
    if condition:
        return
    shown = "null" if received is None else shortened(repr(received))
    raise ValueError(f"{key} must be {expected}, got {shown}")


def shortened(text: str) -> str:
    """Return a text as a message shows it: its beginning, where it is long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def check_between(key: str, value: float | None, low: float, high: float, unit: str = "") -> None:
    """Refuse a number outside of [low, high]; null passes."""
    in_range = value is None or low <= value <= high
    check(in_range, key, f"from {low} to {high}{unit}", value)


def check_at_least(key: str, value: float | None, least: float, unit: str = "") -> None:
    """Refuse a number below `least`, or one that is not finite; null passes."""
    in_range = value is None or is_number(value, least)
    check(in_range, key, f"{least:g}{unit} or more", value)


def check_positive(key: str, value: float | None) -> None:
    """Refuse a number that is not above 0, or not finite; null passes."""
    in_range = value is None or 0 < value < math.inf
    check(in_range, key, "above 0", value)


def check_inside(key: str, value: float | None, low: float, high: float) -> None:
    """Refuse a number that is not above `low` and below `high`; null passes."""
    in_range = value is None or low < value < high
    check(
        in_range,
        key,
        f"above {low:g} and below {high:g}, or null",
        value,
    )


def check_share(key: str, value: float | None) -> None:
    """Refuse a number outside of [0, 1); null passes."""
    in_range = value is None or 0 <= value < 1
    check(in_range, key, "from 0 to below 1", value)


def is_number(value: float, least: float) -> bool:
    """Tell whether a number is finite and not below `least`."""
    # Compared, since `math.isfinite` cannot take a whole number beyond all floats.
    return least <= value < math.inf


def pattern_fault(text: str) -> str | None:
    """Return what keeps a text from being a regular expression; None where it is one."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return None


def duration(text: str) -> float | None:
    """Return the seconds of a duration such as 90s, 10m or 1h30m; None where it is none."""
    parts = re.fullmatch(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?", text)
    if parts is None or not text:
        return None
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds
