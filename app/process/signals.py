"""Ctrl-C and SIGTERM: at once outside of training, else after the step, with the state saved."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_LOG = logging.getLogger(__name__)
_LOOK = 0.5  # seconds between looks at the parent
_GRACE = 3.0  # seconds to end in, where nothing has to be saved
_SAVING = {
    signal.SIGINT: "stopping after this step and saving ... (press Ctrl-C again to quit now)",
    signal.SIGTERM: "SIGTERM: stopping after this step and saving ...",
}


class Stop:
    """Remembers the signal that asked this process to end.

    `exit_code` is 128 plus its number, 0 before any.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self._deferred = False

    def install(self) -> None:
        """Answers SIGINT and SIGTERM from now on."""
        for number in _SAVING:
            signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        """Let a first signal set a mark, which the yielded function reads; a second ends all."""
        self._deferred = True
        try:
            yield lambda: self.exit_code != 0
        finally:
            self._deferred = False
        if self.exit_code:  # it came after the last place that could act on it
            raise KeyboardInterrupt

    @property
    def deferring(self) -> bool:
        """Whether a signal has to wait for the running step and for saving."""
        return self._deferred

    def _handle(self, number: int, _: FrameType | None) -> None:
        again = self.exit_code != 0
        self.exit_code = 128 + number
        if again:
            os._exit(self.exit_code)
        if not self._deferred:
            raise KeyboardInterrupt
        _LOG.info(f"\n{_SAVING[signal.Signals(number)]}")


STOP = Stop()


def end_with(parent: int) -> None:
    """Ends this process, as SIGTERM does, when the one that started it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            time.sleep(_GRACE)
            if not STOP.deferring:  # Python drops what is raised in a weak reference's callback
                os._exit(STOP.exit_code or 128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
