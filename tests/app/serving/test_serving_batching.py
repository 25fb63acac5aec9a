"""Requests that arrive together are one batch; each gets its own answer, whatever becomes of the others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.app.serving.batching import Arrays, Batcher, QueueFull


class Doubling:
    """A model that notes how large its batches are, and fails on negative numbers."""

    def __init__(self, wait: float = 0.0) -> None:
        self.sizes: list[int] = []
        self._wait = wait

    def __call__(self, arrays: dict[str, np.ndarray]) -> Arrays:
        import time

        time.sleep(self._wait)
        self.sizes.append(len(arrays["x"]))
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        return {"y": 2 * arrays["x"]}


def together(model: Doubling, requests: list[np.ndarray], **options: Any) -> list[Any]:
    """The answers, or exceptions, of requests that arrive at once."""

    async def all_of_them() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(model, executor, **options)
            return await asyncio.gather(
                *(batcher.submit({"x": one}) for one in requests), return_exceptions=True
            )

    return asyncio.run(all_of_them())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 16))
def test_everybody_gets_the_own_answer_in_batches_of_at_most_the_largest(
    counts: list[int], largest: int
) -> None:
    model = Doubling()
    requests = [np.arange(count) + 100 * i for i, count in enumerate(counts)]
    answers = together(model, requests, largest=largest, queue=1000)
    for one, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * one)
    assert sum(model.sizes) == sum(counts)
    assert all(size <= max(largest, *counts) for size in model.sizes)


def test_what_waits_while_a_batch_runs_is_the_next_batch() -> None:
    model = Doubling(wait=0.05)

    async def arrive() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(model, executor)
            first = asyncio.create_task(batcher.submit({"x": np.ones(1)}))
            await asyncio.sleep(0.02)
            await asyncio.gather(first, *(batcher.submit({"x": np.ones(2)}) for _ in range(5)))

    asyncio.run(arrive())
    assert model.sizes == [1, 10]


def test_images_of_different_sizes_are_no_batch() -> None:
    model = Doubling()
    answers = together(model, [np.ones((1, 2)), np.ones((1, 3)), np.ones((2, 2))])
    assert [answer["y"].shape for answer in answers] == [(1, 2), (1, 3), (2, 2)]
    assert sorted(model.sizes) == [1, 3]


def test_one_bad_image_is_not_the_others_end() -> None:
    answers = together(Doubling(), [np.ones(1), -np.ones(1), np.ones(2)])
    assert isinstance(answers[1], ValueError)
    assert [answers[i]["y"].tolist() for i in (0, 2)] == [[2.0], [2.0, 2.0]]


def test_an_output_that_is_no_row_an_image_is_everybodys_own() -> None:
    class Meaning(Doubling):
        def __call__(self, arrays: dict[str, np.ndarray]) -> Arrays:
            return {**super().__call__(arrays), "mean": arrays["x"].mean()}

    answers = together(Meaning(), [np.ones(3), 4 * np.ones(2)])
    assert [float(answer["mean"]) for answer in answers] == [1, 4]


def test_a_queue_that_is_full_refuses_at_once() -> None:
    answers = together(Doubling(wait=0.01), [np.ones(4)] * 5, largest=4, queue=12)
    refused = [isinstance(answer, QueueFull) for answer in answers]
    assert refused == [False, False, False, True, True]


def test_a_request_larger_than_the_queue_is_answered_when_nothing_waits() -> None:
    (answer,) = together(Doubling(), [np.ones(50)], largest=4, queue=8)
    assert len(answer["y"]) == 50


def test_who_went_away_is_not_computed_for() -> None:
    model = Doubling(wait=0.05)

    async def leave() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(model, executor)
            first = asyncio.create_task(batcher.submit({"x": np.ones(1)}))
            await asyncio.sleep(0.01)
            second = asyncio.create_task(batcher.submit({"x": np.ones(7)}))
            await asyncio.sleep(0.01)
            second.cancel()
            await first
            await asyncio.sleep(0.1)

    asyncio.run(leave())
    assert model.sizes == [1]


@pytest.mark.parametrize("count", [1, 3])
def test_batches_are_told_of(count: int) -> None:
    seen: list[int] = []

    def note(images: int, seconds: float) -> None:
        seen.append(images)

    together(Doubling(), [np.ones(2)] * count, on_batch=note)
    assert seen == [2 * count]
