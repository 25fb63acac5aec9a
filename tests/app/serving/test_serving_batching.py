"""Batching: requests that arrive together are one batch, and each gets its own answer."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.app.serving.batching import Arrays, Batcher, QueueFull


class Doubling:
    """A model that notes how large its batches are, and fails on negative numbers."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, arrays: Arrays) -> Arrays:
        self.sizes.append(len(arrays["x"]))
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        return {"y": 2 * arrays["x"]}


class Held(Doubling):
    """Answers nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.started = Event()
        self.released = Event()

    def __call__(self, arrays: Arrays) -> Arrays:
        self.started.set()
        assert self.released.wait(60)
        return super().__call__(arrays)


def submit_together(model: Doubling, requests: list[np.ndarray], **options: Any) -> list[Any]:
    """Return the answers, or exceptions, of requests that arrive at once."""

    async def submit_all() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(model, executor, **options)
            answers = [batcher.submit({"x": images}) for images in requests]
            return await asyncio.gather(*answers, return_exceptions=True)

    return asyncio.run(submit_all())


@asynccontextmanager
async def busy_batcher(model: Held) -> AsyncIterator[Batcher]:
    """Give a batcher whose model is busy with a request of one image until the context ends."""
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(model, executor)
        first = submit_soon(batcher, 1)
        assert await asyncio.to_thread(model.started.wait, 60)
        try:
            yield batcher
        finally:
            model.released.set()
        await first


def submit_soon(batcher: Batcher, count: int) -> "asyncio.Task[Arrays]":
    return asyncio.create_task(batcher.submit({"x": np.ones(count)}))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 16))
def test_each_request_gets_its_own_answer_in_batches_of_at_most_the_largest(
    counts: list[int], largest: int
) -> None:
    model = Doubling()
    requests = [np.arange(count) + 100 * index for index, count in enumerate(counts)]
    answers = submit_together(model, requests, largest=largest, queue=1000)
    for images, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * images)
    assert sum(model.sizes) == sum(counts)
    assert max(model.sizes) <= max(largest, *counts)


def test_what_waits_while_a_batch_runs_is_the_next_batch() -> None:
    model = Held()

    async def arrive() -> None:
        async with busy_batcher(model) as batcher:
            waiting = [submit_soon(batcher, 2) for _ in range(5)]
            await asyncio.sleep(0)  # each is in the queue then
        await asyncio.gather(*waiting)

    asyncio.run(arrive())
    assert model.sizes == [1, 10]


def test_images_of_different_sizes_are_no_batch() -> None:
    model = Doubling()
    answers = submit_together(model, [np.ones((1, 2)), np.ones((1, 3)), np.ones((2, 2))])
    assert [answer["y"].shape for answer in answers] == [(1, 2), (1, 3), (2, 2)]
    assert sorted(model.sizes) == [1, 3]


def test_a_bad_image_fails_alone() -> None:
    first, bad, last = submit_together(Doubling(), [np.ones(1), -np.ones(1), np.ones(2)])
    assert isinstance(bad, ValueError)
    assert first["y"].tolist() == [2.0]
    assert last["y"].tolist() == [2.0, 2.0]


def test_an_output_that_is_no_row_an_image_is_not_shared() -> None:
    class Mean(Doubling):
        def __call__(self, arrays: Arrays) -> Arrays:
            return {**super().__call__(arrays), "mean": arrays["x"].mean()}

    answers = submit_together(Mean(), [np.ones(3), 4 * np.ones(2)])
    assert [float(answer["mean"]) for answer in answers] == [1, 4]


def test_a_queue_that_is_full_refuses_at_once() -> None:
    answers = submit_together(Doubling(), [np.ones(4)] * 5, largest=4, queue=12)
    is_refused = [isinstance(answer, QueueFull) for answer in answers]
    assert is_refused == [False, False, False, True, True]


def test_a_request_larger_than_the_queue_is_answered_when_nothing_waits() -> None:
    (answer,) = submit_together(Doubling(), [np.ones(50)], largest=4, queue=8)
    assert len(answer["y"]) == 50


def test_a_request_whose_client_has_gone_is_not_computed() -> None:
    model = Held()

    async def leave() -> None:
        async with busy_batcher(model) as batcher:
            cancelled = submit_soon(batcher, 7)
            await asyncio.sleep(0)
            cancelled.cancel()
            last = submit_soon(batcher, 2)
            await asyncio.sleep(0)
        await last

    asyncio.run(leave())
    assert model.sizes == [1, 2]


@pytest.mark.parametrize("count", [1, 3])
def test_every_batch_is_counted(count: int) -> None:
    sizes: list[int] = []

    def note(images: int, seconds: float) -> None:
        sizes.append(images)

    submit_together(Doubling(), [np.ones(2)] * count, on_batch=note)
    assert sizes == [2 * count]
