"""Messages: the logger tree `epochal`, its console handler, and the log.txt of a run.

A module logs with `logging.getLogger(__name__)`: the user reads it on stderr. What belongs to the
story of a run goes to `RUN_LOG`: while a run is locked its log.txt takes every such line, of which
the console leaves out those of level DEBUG.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

RUN_LOG = logging.getLogger("epochal.run")
_TREE = logging.getLogger("epochal")


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes messages without their time to what is stderr when they come."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The process's stderr of this moment."""
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 the name is logging's
        """Raise the error, as `print` would: a reader that has gone ends the program."""
        raise  # logging calls this while it handles the error


class RunLogHandler(logging.FileHandler):
    """Appends lines with their time to a file, made when the first one comes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 the name is logging's
        """Raise the error: a full disk is an error like that of any other file."""
        raise  # as above


def show_messages(verbosity: int) -> None:
    """Show the messages of this process on stderr, from a verbosity of 2 on DEBUG ones too."""
    for handler in list(_TREE.handlers):
        if isinstance(handler, ConsoleHandler):
            _TREE.removeHandler(handler)
    console = ConsoleHandler()
    console.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    _TREE.addHandler(console)
    _TREE.setLevel(logging.DEBUG)
    _TREE.propagate = False  # a library may have given the root logger a console of its own


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append what `RUN_LOG` gets to `path`; the file of a run around this one waits meanwhile."""
    outer = [handler for handler in RUN_LOG.handlers if isinstance(handler, RunLogHandler)]
    for handler in outer:
        RUN_LOG.removeHandler(handler)
    inner = RunLogHandler(path)
    RUN_LOG.addHandler(inner)
    RUN_LOG.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        RUN_LOG.removeHandler(inner)
        inner.close()
        for handler in outer:
            RUN_LOG.addHandler(handler)
