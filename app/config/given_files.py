"""Files that a user names: read up to a limit, whatever stands there, and never waited for."""

import os
import select
import stat
import time
from pathlib import Path

from epochal.app.errors import UsageError

_SECONDS_OF_A_PIPE = 10.0  # in which all of it has to come
_SECONDS_FOR_A_WRITER = 0.5  # in which somebody has to open a named pipe
_PIECE = 65_536


def read_given_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file, or of a pipe such as `<(command)` of a shell.

    Raises:
        OSError: it cannot be read.
        UsageError: it is a folder or a device, is larger than `most_bytes`, or is a pipe that does
            not end.
    """
    try:
        # A pipe without a writer would keep a plain `open` waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as error:
        raise UsageError(f"{str(path)!r}: {error}; give the name of a file") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode):
            content = _read_pipe(descriptor, path, most_bytes)
        elif stat.S_ISREG(mode):
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most_bytes + 1)
        else:
            kind = "a folder" if stat.S_ISDIR(mode) else "a device"
            raise UsageError(f"{path}: is {kind}; give a file")
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise UsageError(
            f"{path}: larger than the {most_bytes:,} bytes that are read; give another"
        )
    return content


def _read_pipe(descriptor: int, path: Path, most_bytes: int) -> bytes:
    content = bytearray()
    deadline = time.monotonic() + _SECONDS_OF_A_PIPE
    while len(content) <= most_bytes:
        select.select([descriptor], [], [], _SECONDS_FOR_A_WRITER)
        try:
            piece = os.read(descriptor, _PIECE)
        except BlockingIOError:  # somebody has it open, and writes nothing
            piece = None
        if piece == b"":
            break
        content += piece or b""
        if time.monotonic() > deadline:
            raise UsageError(
                f"{path}: a pipe that did not end in {_SECONDS_OF_A_PIPE:g} seconds; give a file"
            )
    return bytes(content)
