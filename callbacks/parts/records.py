"""A file of JSON lines, one a measurement, that a resumed training goes on with."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Records:
    """Appends measurements to `path`; each names its `iteration`, and holds no time: equal training, equal lines.

    A measurement that is made again (by a training that was stopped after it was written, but resumed from before)
    replaces itself.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._began: int | None = None

    def begin(self, iteration: int) -> None:
        """Drops what lies past the iteration that training begins at, or was cut short."""
        self._began = iteration
        self._keep(lambda record: record["iteration"] <= iteration)

    def write(self, record: dict[str, Any]) -> None:
        """Appends a measurement; numbers that are not finite become null."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        key = record["iteration"], record.get("data")
        if record["iteration"] == self._began:
            self._keep(lambda old: (old["iteration"], old.get("data")) != key)
        with self.path.open("a") as file:
            file.write(json.dumps(finite(record), allow_nan=False) + "\n")

    def _keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and wanted(json.loads(line))]
        if kept != lines:
            beside = self.path.with_name(f".{self.path.name}.new")
            beside.write_text("".join(kept))
            os.replace(beside, self.path)


def finite(value: Any) -> Any:
    """Returns plain values with null for each number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
