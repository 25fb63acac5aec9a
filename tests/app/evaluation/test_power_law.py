"""Power laws: planted ones are found again, intervals hold them, too few sizes are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.app.errors import UsageError
from epochal.app.evaluation.power_law import Point, PowerLaw, fit_power_law, predict_error

SIZES = (500, 1000, 2000, 4000, 7000, 10_000)
PLANTED = PowerLaw(floor=0.02, scale=3.0, exponent=0.5)


def points_of(law: PowerLaw, judged: int, random: np.random.Generator | None = None) -> list[Point]:
    """Trainings that err as the law says, or that were judged by chance besides."""
    points = []
    for images in SIZES:
        error = law.error(images)
        if random is not None:
            error = random.binomial(judged, error) / judged
        points.append(Point(images=images, error=error, judged=judged))
    return points


@given(
    floor=st.floats(0, 0.1),
    at_most=st.floats(0.02, 0.15),
    exponent=st.floats(0.15, 1.5),
)
@settings(max_examples=25)
def test_a_planted_law_is_found_again(floor: float, at_most: float, exponent: float) -> None:
    law = PowerLaw(floor=floor, scale=at_most * max(SIZES) ** exponent, exponent=exponent)
    found = fit_power_law(points_of(law, 1_000_000))
    for images in (*SIZES, 20_000):
        assert found.error(images) == pytest.approx(law.error(images), rel=0.01)


def test_the_error_of_twice_the_images_is_within_the_interval_nearly_always() -> None:
    covered = 0
    for seed in range(10):
        points = points_of(PLANTED, 5000, np.random.default_rng(seed))
        prediction = predict_error(points, 20_000, seed)
        assert prediction.low <= prediction.error <= prediction.high
        covered += prediction.low <= PLANTED.error(20_000) <= prediction.high
    # Of ten intervals of 95 %, fewer than seven hold with a probability of 0.0001.
    assert covered >= 7


def test_more_images_never_make_it_worse() -> None:
    points = points_of(PLANTED, 200, np.random.default_rng(1))
    gains = [predict_error(points, images).gain for images in (10_000, 20_000, 40_000)]
    assert gains[0] == 0
    assert 0 <= gains[1] <= gains[2]


def test_a_network_without_errors_has_a_law_too() -> None:
    points = [Point(images=images, error=0.0, judged=100) for images in SIZES]
    assert predict_error(points, 20_000).error == pytest.approx(0, abs=1e-4)


def test_fewer_sizes_than_the_law_needs_are_refused() -> None:
    with pytest.raises(UsageError, match="4 different numbers of images, got 3"):
        fit_power_law(points_of(PLANTED, 100)[:3] * 2)
