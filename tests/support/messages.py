"""Messages of the logger tree, heard by a test."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Listener(logging.Handler):
    """Keeps the text of each message."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def heard(level: int = logging.INFO) -> Iterator[list[str]]:
    """Give a list of what the console would show, in order: messages of `level` and above."""
    tree = logging.getLogger("epochal")
    listener = _Listener(level)
    level_before = tree.level
    tree.addHandler(listener)
    tree.setLevel(logging.DEBUG)
    try:
        yield listener.lines
    finally:
        tree.removeHandler(listener)
        tree.setLevel(level_before)
