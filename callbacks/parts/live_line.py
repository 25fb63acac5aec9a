"""A line at the end of a terminal that is drawn again and again."""

import sys
from typing import TextIO

from epochal.callbacks.parts.formatting import is_terminal

_REDRAWN = 0.1  # seconds, at least, between two drawings


class LiveLine:
    """Draws a line over the one before, until a line that stays takes its place.

    Args:
        stream: where to write; None is stderr.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.reset()

    def reset(self) -> None:
        """Forget what was drawn."""
        self._drawn = ""
        self._drawn_at = -1.0

    def is_due(self, now: float) -> bool:
        """Tell whether to draw at this second: on a terminal, at most ten times a second."""
        return now - self._drawn_at >= _REDRAWN and is_terminal(self.stream or sys.stderr)

    def draw(self, text: str, now: float) -> None:
        """Draw a line over the one before."""
        self._drawn_at = now
        self._write(text, end="")
        self._drawn = text.strip()

    def print(self, text: str) -> None:
        """Print a line that stays, over the one that was drawn."""
        self._write(text, end="\n")
        self._drawn = ""

    def end(self) -> None:
        """Let the line that was drawn stay."""
        if self._drawn:
            self.print(self._drawn)

    def _write(self, text: str, *, end: str) -> None:
        if self._drawn or not end:
            # The line before is overwritten with blanks: no terminal codes.
            text = f"\r{text:{len(self._drawn)}}"
        print(text, end=end, file=self.stream or sys.stderr, flush=True)
