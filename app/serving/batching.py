"""Requests that arrive together become one batch; one that arrives alone waits for nobody."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Answer = dict[str, np.ndarray]


class QueueFull(Exception):
    """So many images wait already that this request would not be answered in time."""


@dataclass(eq=False)
class _Waiting:
    """A request's arrays, and where its answer is awaited."""

    arrays: dict[str, np.ndarray]
    count: int
    answer: "asyncio.Future[Answer]"
    since: float = field(default_factory=time.perf_counter)

    def fits(self, other: "_Waiting") -> bool:
        """Whether both can be one batch: the same inputs, of the same shape but for their number."""
        known = self.rows and other.rows and self.arrays.keys() == other.arrays.keys()
        return known and all(
            array.shape[1:] == other.arrays[name].shape[1:] for name, array in self.arrays.items()
        )

    @property
    def rows(self) -> bool:
        """Whether every array has a row for each of `count` images: nothing else can be joined."""
        return self.count > 0 and all(
            array.shape[:1] == (self.count,) for array in self.arrays.values()
        )


class Batcher:
    """Calls `answer` with one batch at a time, made of all that arrived during the call before.

    So the delay is bounded by a call's own duration, and an idle server adds none.

    Args:
        answer: arrays by name to arrays by name, `[n, ...]` each; runs in `executor`.
        largest: images of a batch; a larger request is a batch of its own.
        queue: images that may wait.
        seen: is told, of every batch, its images and the seconds it took.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, np.ndarray]], Answer],
        executor: Executor,
        *,
        largest: int = 64,
        queue: int = 1024,
        seen: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self._answer = answer
        self._executor = executor
        self._seen = seen
        self._largest = largest
        self._queue = queue
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, arrays: dict[str, np.ndarray]) -> Answer:
        """The answer for a request's images.

        Raises:
            QueueFull: when too many wait.
            Exception: whatever `answer` raises for this request alone.
        """
        count = max((len(array) for array in arrays.values() if array.ndim), default=1)
        if sum(one.count for one in self._waiting) + count > self._queue and self._waiting:
            raise QueueFull(f"{self._queue} images are waiting")
        mine = _Waiting(arrays, count, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await mine.answer

    async def _run(self) -> None:
        while self._waiting:
            await self._served(self._next())

    async def _served(self, chosen: Sequence[_Waiting]) -> None:
        """Answers all of them; one bad image must not be the others' end, so half of them are asked with it."""
        try:
            await self._serve(chosen)
        except Exception as error:
            if len(chosen) == 1:
                _fail(chosen[0], error)
                return
            half = len(chosen) // 2
            await self._served(chosen[:half])
            await self._served(chosen[half:])

    def _next(self) -> list[_Waiting]:
        """The oldest request, and those that can go with it; who no longer waits for an answer is let go."""
        self._waiting = [one for one in self._waiting if not one.answer.cancelled()]
        if not self._waiting:
            return []
        chosen = [self._waiting[0]]
        total = self._waiting[0].count
        for one in self._waiting[1:]:
            if one.fits(chosen[0]) and total + one.count <= self._largest:
                chosen.append(one)
                total += one.count
        self._waiting = [one for one in self._waiting if one not in chosen]
        return chosen

    async def _serve(self, chosen: Sequence[_Waiting]) -> None:
        if not chosen:
            return
        joined = chosen[0].arrays
        if len(chosen) > 1:
            joined = {name: np.concatenate([one.arrays[name] for one in chosen]) for name in joined}
        began = time.perf_counter()
        answer: Any = await asyncio.get_running_loop().run_in_executor(
            self._executor, self._answer, joined
        )
        count = sum(one.count for one in chosen)
        self._seen(count, time.perf_counter() - began)
        if len(chosen) > 1 and any(rows.shape[:1] != (count,) for rows in answer.values()):
            raise ValueError("an output that is no row an image cannot be shared out")
        start = 0
        for one in chosen:
            part = (
                answer
                if len(chosen) == 1
                else {n: rows[start : start + one.count] for n, rows in answer.items()}
            )
            start += one.count
            if not one.answer.done():
                one.answer.set_result(part)


def _fail(one: _Waiting, error: Exception) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)
