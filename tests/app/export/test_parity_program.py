"""The comparison of an exported model's answers with its run's, number by number."""

from typing import Any

import numpy as np
import pytest

from epochal.app.export.parity_program import clock, difference

EXPECTED = {
    "probabilities": np.array([[0.5, 0.5, 0.0], [0.1, 0.7, 0.2]], np.float32),
    "features": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32),
    "classes": np.array(["a", "b", "c"]),
}
SAME = {
    "probabilities": EXPECTED["probabilities"],
    "label": np.array([b"b", b"b"]),  # of a tie, either
    "labels": np.array([[b"b", b"a"], [b"b", b"c"]]),
    "scores": np.array([[0.5, 0.5], [0.7, 0.2]], np.float32),
    "features": EXPECTED["features"],
}
# The second image's answer is wrong, by so much.
WRONG: dict[str, tuple[Any, float]] = {
    "probabilities": (EXPECTED["probabilities"] + [[0, 0, 0], [0, 0.25, 0]], 0.25),
    "label": (np.array([b"b", b"c"]), 0.5),
    "labels": (np.array([[b"b", b"a"], [b"b", b"a"]]), 0.1),
    "scores": (np.array([[0.5, 0.5], [0.7, 0.1]]), 0.1),
    "features": (np.array([[1.0, 2.0], [3.0, 6.0]]), 0.5),
}


def test_equal_answers_differ_by_nothing() -> None:
    assert difference(SAME, EXPECTED).tolist() == [0, 0]


@pytest.mark.parametrize("name", WRONG)
def test_each_difference_is_seen_where_it_is(name: str) -> None:
    output, distance = WRONG[name]
    differences = difference({**SAME, name: output}, EXPECTED)
    np.testing.assert_allclose(differences, [0, distance], atol=1e-7)


def test_a_value_that_is_no_number_is_a_difference() -> None:
    spoiled = np.array([[0.5, 0.5, 0.0], [0.1, np.nan, 0.2]])
    assert np.isnan(difference({"probabilities": spoiled}, EXPECTED)[1])


def test_seen_images_are_the_centres_of_stored_ones() -> None:
    stored = np.arange(2 * 4 * 4).reshape(2, 4, 4, 1)
    seen = stored[:, 1:3, 1:3].astype(float)
    seen[1, 0, 0, 0] += 3
    expected = {**EXPECTED, "images": stored}
    assert difference({"image": seen}, expected).tolist() == [0, 3]


def test_the_clock_takes_batches_of_the_size() -> None:
    sizes = set()

    def ask(images: np.ndarray) -> dict[str, np.ndarray]:
        sizes.add(len(images))
        return {}

    median, late = clock(ask, np.zeros((3, 8, 8, 1)), 7, seconds=0.01)
    assert sizes == {7}
    assert 0 <= median <= late
