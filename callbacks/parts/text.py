"""How `Progress` words its figures."""

import os
from collections.abc import Sequence
from typing import TextIO


def clock(seconds: float) -> str:
    """Returns a duration as minutes and seconds, with hours where there are any: 0:41, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: float) -> str:
    """Returns a loss or metric in three decimals, or in three digits where those would not show it."""
    return f"{value:.3f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def speed(steps: float, images: float) -> str:
    """Returns so many `steps` a second as images a second, if a step has `images`, else as they are."""
    return f"{steps * images:,.0f} img/s" if images else f"{steps:,.1f} steps/s"


def is_terminal(stream: TextIO) -> bool:
    """Returns whether a carriage return goes back to the start of a line of `stream`."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def rank(name: str) -> tuple[bool, bool, str]:
    """Sorts logged names: training before validation, the loss first."""
    return name.startswith("val_"), not name.endswith("loss"), name


def bar(head: str, tail: Sequence[str], share: float | None, width: int) -> str:
    """Returns `head`, a bar filled to `share` (0 to 1) and as much of `tail` as `width` columns hold."""
    parts = list(tail)
    size = 0
    while parts and width - len("  ".join([head, *parts])) < 8:
        parts.pop()
    if share is not None:
        size = min(20, width - len("  ".join([head, *parts])) - 4)
    if size > 0:
        parts.insert(0, f"[{'=' * round(size * (share or 0)):{size}}]")
    return "  ".join([head, *parts])[:width]
