"""Temperature and calibration error, against naive computations and planted truths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.app.evaluation.calibration import BINS, calibration_error, temperature
from epochal.app.evaluation.metrics import evaluate_logits, probabilities


def drawn(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that come as often as softmax says."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, classes))
    return logits, np.array([random.choice(classes, p=row) for row in probabilities(logits)])


@pytest.mark.parametrize("planted", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_planted_is_found(planted: float) -> None:
    logits, labels = drawn(20_000, 5)
    assert temperature(logits * planted, labels) == pytest.approx(planted, rel=0.03)


def test_no_other_temperature_has_a_lower_loss() -> None:
    logits, labels = drawn(500, 4)
    logits = logits * 3
    best = evaluate_logits(logits / temperature(logits, labels), labels).loss
    for other in np.geomspace(0.05, 20, 200):
        assert best <= evaluate_logits(logits / other, labels).loss + 1e-9


def test_a_model_that_is_always_right_gets_the_lowest_temperature_allowed() -> None:
    assert temperature(np.eye(3), np.arange(3)) == pytest.approx(1 / 20, rel=0.01)


def naive_error(chances: np.ndarray, labels: np.ndarray) -> float:
    total = 0.0
    for place in range(BINS):
        count = 0
        confidence = 0.0
        right = 0
        for row, label in zip(chances, labels, strict=True):
            if min(int(row.max() * BINS), BINS - 1) == place:
                count += 1
                confidence += row.max()
                right += int(row.argmax() == label)
        if count:
            gap = abs(confidence / count - right / count)
            total += count / len(labels) * gap
    return total


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 6))
def test_the_error_is_the_papers(seed: int, count: int, classes: int) -> None:
    logits, labels = drawn(count, classes, seed)
    assert calibration_error(logits, labels) == pytest.approx(
        naive_error(probabilities(logits), labels), abs=1e-12
    )


def test_what_is_drawn_from_its_probabilities_is_calibrated_and_what_is_sharpened_is_not() -> None:
    logits, labels = drawn(20_000, 5)
    # Of 20,000 draws, some 0.01 is chance.
    assert calibration_error(logits, labels) < 0.02
    assert calibration_error(logits * 4, labels) > 0.1
    assert not math.isnan(calibration_error(logits * 1000, labels))
