"""Every norm with every activation, in every precision: trained, validated and exported."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

PRECISIONS = "float32,mixed_bfloat16,mixed_float16"


@pytest.mark.parametrize(
    ("norms", "devices", "precisions", "activations"),
    [
        # Two networks on two devices, one after the other in a process, as a sweep trains them.
        ("none,batch", 2, "mixed_float16", "tanh,sparsemax"),
        *(
            pytest.param(norm, devices, PRECISIONS, "", marks=pytest.mark.slow)
            for norm in ("batch", "layer", "weight", "weight_mean", "normprop", "none")
            for devices in (1, 2)
        ),
    ],
)
def test_norms_with_activations(
    norms: str, devices: int, precisions: str, activations: str
) -> None:
    """With oneDNN, which fuses most, as it does by itself on some processors."""
    arguments = [str(devices), norms, precisions, activations]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.pairs_child", *arguments],
        cwd=ROOT,
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    count = len(norms.split(",")) * len(precisions.split(","))
    assert len(done.stdout.splitlines()) == count
