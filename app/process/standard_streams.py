"""Standard streams of a program: open, able to show every name, and silent when nobody reads."""

import io
import os
import sys
from typing import Any


class MessageStream(io.TextIOWrapper):
    """Stderr that goes on into nothing when its reader has gone: work does not end with it."""

    def write(self, text: str) -> int:
        """Write a text, or nothing any more."""
        try:
            return super().write(text)
        except BrokenPipeError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        """Write out what was kept back, or nothing any more."""
        try:
            super().flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())
        os.close(nothing)


def prepare_streams() -> None:
    """Open the standard streams that are closed, and let the others show every character.

    A supervisor may start a program with closed streams: the next file to be opened would take
    their place. A character that the terminal cannot show is escaped.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _open_nothing(number)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    stdout: Any = sys.stdout
    stdout.reconfigure(errors="backslashreplace")
    stderr: Any = sys.stderr
    encoding = stderr.encoding
    sys.stderr = MessageStream(
        stderr.detach(),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def _open_nothing(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != number:
            os.dup2(nothing, number)
            os.close(nothing)
