"""Files that stay open while images are read from them, by offset."""

import errno
import os
import resource
import weakref
from collections.abc import Sequence
from typing import Any

from epochal.app.errors import UsageError


class OpenFiles:
    """Files that are open for as long as anything may read them.

    Raises:
        UsageError: the process may not open as many.
    """

    def __init__(self, names: Sequence[str]) -> None:
        _allow_open_files(len(names))
        self.names = list(names)
        self.descriptors: list[int] = []
        weakref.finalize(self, _close, self.descriptors)
        for name in names:
            try:
                self.descriptors.append(os.open(name, os.O_RDONLY))
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                raise UsageError(
                    f"{name}: the data set has {len(names)} files, more than this process may "
                    "open; raise the limit (ulimit -n), or prepare it in fewer files"
                ) from error

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Return bytes of the file of that number.

        Raises:
            OSError: it ends before.
        """
        content = os.pread(self.descriptors[number], length, offset)
        self._check_length(number, len(content), length)
        return content

    def read_into(self, number: int, offset: int, buffer: Any) -> None:
        """Fill a contiguous array of bytes from the file of that number.

        Raises:
            OSError: it ends before.
        """
        length = os.preadv(self.descriptors[number], [buffer], offset)
        self._check_length(number, length, buffer.nbytes)

    def _check_length(self, number: int, length: int, expected: int) -> None:
        # One call reads at most 2 GiB, more than an image may have.
        if length < expected:
            raise OSError(errno.EIO, "it has become shorter", self.names[number])


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _allow_open_files(count: int) -> None:
    """Raise the limit of open files by `count`, as far as the system lets a process do it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = soft + count
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
