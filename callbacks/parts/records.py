"""A file of JSON lines, one a measurement, that a resumed training goes on with."""

import json
import math
import os
from typing import Any

from epochal.callbacks.parts.lines import Lines


class Records:
    """Appends measurements to `path`.

    Each names its `iteration`, and holds no time: equal training, equal lines.

    Those of one iteration differ in their `data`. A measurement that is made again replaces itself,
    as in `Lines`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lines = Lines(path, _place)

    def begin(self, iteration: int, *, closing: str | None = None) -> None:
        """Drop what lies past the iteration that training begins at, or was cut short.

        `closing` is the `data` of a measurement that is only made when training ends: it comes
        again.
        """
        self._lines.begin(iteration, closing=closing)

    def write(self, record: dict[str, Any]) -> None:
        """Append a measurement; numbers that are not finite become null."""
        self._lines.write(json.dumps(finite(record), allow_nan=False))


def finite(value: Any) -> Any:
    """Return plain values with null for each number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _place(line: str) -> tuple[int, str]:
    record = json.loads(line)
    return record["iteration"], record.get("data", "")
