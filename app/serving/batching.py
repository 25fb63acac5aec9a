"""Batching: requests that arrive together are one batch; one that is alone waits for nobody."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]


class QueueFull(Exception):
    """So many images wait already that this request would not be answered in time."""


@dataclass(eq=False)
class _Request:
    """A request's arrays, its number of images, and where its answer is awaited."""

    arrays: Arrays
    count: int
    answer: "asyncio.Future[Arrays]"

    @property
    def has_rows(self) -> bool:
        """Whether every array has a row for each of `count` images: nothing else can be joined."""
        if self.count == 0:
            return False
        return all(array.shape[:1] == (self.count,) for array in self.arrays.values())

    def fits(self, other: "_Request") -> bool:
        """Return whether both can be one batch: the same inputs, with rows of the same shapes."""
        if not self.has_rows or not other.has_rows:
            return False
        if self.arrays.keys() != other.arrays.keys():
            return False
        for name, array in self.arrays.items():
            if array.shape[1:] != other.arrays[name].shape[1:]:
                return False
        return True


class Batcher:
    """Calls a model with one batch at a time, made of all that arrived during the call before.

    So the delay is bounded by a call's own duration, and an idle server adds none.

    Args:
        model: arrays by name to arrays by name, `[n, ...]` each; runs in `executor`.
        executor: of one thread.
        largest: images of a batch; a larger request is a batch of its own.
        queue: images that may wait.
        on_batch: called after every batch with its images and the seconds it took.
    """

    def __init__(
        self,
        model: Callable[[Arrays], Arrays],
        executor: Executor,
        *,
        largest: int = 64,
        queue: int = 1024,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self._model = model
        self._executor = executor
        self._on_batch = on_batch
        self._largest = largest
        self._queue = queue
        self._waiting: list[_Request] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, arrays: Arrays) -> Arrays:
        """Return the model's answer for a request's images.

        Raises:
            QueueFull: when too many wait.
            Exception: whatever the model raises for this request alone.
        """
        lengths = [len(array) for array in arrays.values() if array.ndim]
        count = max(lengths, default=1)
        if self._waiting:
            num_waiting = sum(request.count for request in self._waiting)
            if num_waiting + count > self._queue:
                raise QueueFull(f"{self._queue} images are waiting")
        loop = asyncio.get_running_loop()
        request = _Request(arrays, count, loop.create_future())
        self._waiting.append(request)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await request.answer

    async def _run(self) -> None:
        while self._waiting:
            batch = self._take_batch()
            if batch:
                await self._answer_or_split(batch)

    def _take_batch(self) -> list[_Request]:
        """Take the oldest request and those that go with it; forget those whose client has gone."""
        waiting = [request for request in self._waiting if not request.answer.cancelled()]
        batch: list[_Request] = []
        remaining = []
        total = 0
        for request in waiting:
            is_first = not batch
            if is_first or (request.fits(batch[0]) and total + request.count <= self._largest):
                batch.append(request)
                total += request.count
            else:
                remaining.append(request)
        self._waiting = remaining
        return batch

    async def _answer_or_split(self, batch: Sequence[_Request]) -> None:
        """Answer a batch; where it fails answer its halves, so that a bad image fails alone."""
        try:
            await self._answer(batch)
        except Exception as error:
            if len(batch) > 1:
                half = len(batch) // 2
                await self._answer_or_split(batch[:half])
                await self._answer_or_split(batch[half:])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)

    async def _answer(self, batch: Sequence[_Request]) -> None:
        arrays = batch[0].arrays
        if len(batch) > 1:
            arrays = {}
            for name in batch[0].arrays:
                parts = [request.arrays[name] for request in batch]
                arrays[name] = np.concatenate(parts)
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(
            self._executor,
            self._model,
            arrays,
        )
        count = sum(request.count for request in batch)
        self._on_batch(count, time.perf_counter() - began)
        if len(batch) == 1:
            _set_answer(batch[0], outputs)
            return
        for output in outputs.values():
            if output.shape[:1] != (count,):
                raise ValueError("an output that is no row an image cannot be shared out")
        start = 0
        for request in batch:
            end = start + request.count
            _set_answer(request, {name: rows[start:end] for name, rows in outputs.items()})
            start = end


def _set_answer(request: _Request, outputs: Arrays) -> None:
    if not request.answer.done():
        request.answer.set_result(outputs)
