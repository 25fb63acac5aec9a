"""A file of lines, one a measurement, that a resumed training goes on with."""

import os
from collections.abc import Callable
from pathlib import Path

from epochal.callbacks.parts.files import naming, write_whole


class Lines:
    """Appends lines to `path`.

    `place` finds in a line its iteration and which of that iteration's lines it is.

    A line that is written again (by a training that was stopped after it was written, but resumed
    from before) replaces itself.
    """

    def __init__(
        self, path: str | os.PathLike[str], place: Callable[[str], tuple[int, str]]
    ) -> None:
        self.path = Path(path)
        self.place = place
        self._first_iteration: int | None = None

    def begin(self, iteration: int, *, closing: str | None = None) -> None:
        """Drop lines past the iteration that training begins at, cut short, or of `closing`."""
        self._first_iteration = iteration
        self._filter(lambda place: place[0] <= iteration and place[1] != closing)

    def write(self, line: str) -> None:
        """Append a line, which is given without its end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        place = self.place(line)
        if place[0] == self._first_iteration:
            self._filter(lambda old_place: old_place != place)
        with naming(self.path), self.path.open("a") as file:
            file.write(line + "\n")

    def _filter(self, is_kept: Callable[[tuple[int, str]], bool]) -> None:
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines(keepends=True)
        kept = []
        for line in lines:
            # A line without its end was cut short.
            if line.endswith("\n") and is_kept(self.place(line)):
                kept.append(line)
        if kept != lines:
            text = "".join(kept)
            write_whole(self.path, text.encode())
