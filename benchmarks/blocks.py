"""Blocks of work that a process does when it is told to, and the time that they take it."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PREFETCHED = 8  # batches, at most
_TICK = os.sysconf("SC_CLK_TCK")


def answer(batches: Iterator[Any]) -> None:
    """Take as many batches as each line on standard input says, and print what that took.

    The seconds of the wall's clock, and those of this process and its children on the processors.
    Batches that were prefetched before do not count.
    """
    for line in sys.stdin:
        for _ in range(PREFETCHED):
            next(batches)
        began = time.perf_counter()
        worked = processor_seconds(os.getpid())
        for _ in range(int(line)):
            next(batches)
        print(
            time.perf_counter() - began,
            processor_seconds(os.getpid()) - worked,
            flush=True,
        )


def processor_seconds(process: int) -> float:
    """Return the time that a process and its living children have had on the processors."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / _TICK
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            seconds += processor_seconds(int(child))
    return seconds
