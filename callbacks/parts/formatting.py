"""Formatting of figures for people: durations, numbers, speeds, bars."""

import os
from collections.abc import Sequence
from typing import TextIO

_WIDEST = 20  # columns of a bar
_LEFT = 8  # columns that are kept free for a bar


def format_duration(seconds: float) -> str:
    """Return minutes and seconds, with hours where there are any: 0:41, 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours = minutes // 60
    minutes = minutes % 60
    if hours:
        return f"{hours}:{minutes:02}:{seconds:02}"
    return f"{minutes}:{seconds:02}"


def format_number(value: float) -> str:
    """Return a loss or metric in three decimals, or in three digits where those hide it."""
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3f}"
    return f"{value:.3g}"


def format_speed(steps: float, images: float) -> str:
    """Return `steps` a second as images a second, if a step has `images`, else as they are."""
    if images:
        return f"{steps * images:,.0f} img/s"
    return f"{steps:,.1f} steps/s"


def is_terminal(stream: TextIO) -> bool:
    """Return whether a carriage return goes back to the start of a line of `stream`."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def log_order(name: str) -> tuple[bool, bool, str]:
    """Return a sort key for logged names: training before validation, the loss first."""
    return name.startswith("val_"), not name.endswith("loss"), name


def format_bar(head: str, tail: Sequence[str], share: float | None, width: int) -> str:
    """Return `head`, a bar and as much of `tail` as `width` columns hold.

    The bar is filled to `share`, from 0 to 1; None for no bar.
    """
    parts = [head, *tail]
    while len(parts) > 1:
        left = width - len("  ".join(parts))
        if left >= _LEFT:
            break
        parts.pop()
    if share is not None:
        left = width - len("  ".join(parts))
        size = min(_WIDEST, left - len("  []"))
        if size > 0:
            filled = "=" * round(size * share)
            parts.insert(1, f"[{filled:{size}}]")
    line = "  ".join(parts)
    return line[:width]
