"""1, 2 and 4 devices give the same weights at the same global batch, each in its process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import ROOT


def train_on(devices: int, case: str, floats: str, folder: Path) -> dict[str, np.ndarray]:
    target = folder / f"{devices}.npz"
    command = [
        sys.executable,
        "-m",
        "tests.support.replicas_child",
        case,
        str(devices),
        floats,
        str(target),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(target) as stored:
        return dict(stored)


@pytest.mark.parametrize(
    ("case", "floats", "tolerance", "counts"),
    [
        pytest.param("mlp", "float32", 1e-5, (2, 4), marks=pytest.mark.slow),
        pytest.param("mlp", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("parts", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("mixed", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("depth", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("gains", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("one gain", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("schedule-free", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("curvatures", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("mean only", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        ("running", "float64", 1e-12, (2,)),
        pytest.param("running", "float64", 1e-12, (4,), marks=pytest.mark.slow),
        pytest.param("resnet8 gently", "float32", 1e-5, (2, 4), marks=pytest.mark.slow),
        pytest.param("resnet8", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
        pytest.param("resnet8 with few left", "float64", 1e-12, (2, 4), marks=pytest.mark.slow),
    ],
)
def test_devices_do_not_change_the_weights(
    tmp_path: Path, case: str, floats: str, tolerance: float, counts
) -> None:
    alone = train_on(1, case, floats, tmp_path)
    assert alone["steps"] >= 20
    weights = [key for key in alone if key not in ("figures", "steps", "logged")]
    for count in counts:
        shared = train_on(count, case, floats, tmp_path)
        assert shared["steps"] == alone["steps"]
        difference = max(np.abs(shared[key] - alone[key]).max() for key in weights)
        print(f"{case} {floats}: {count} devices differ by {difference:.1e}")
        assert difference <= tolerance
        np.testing.assert_allclose(shared["figures"], alone["figures"], rtol=1e-4)
        np.testing.assert_allclose(shared["logged"], alone["logged"], rtol=1e-5)
