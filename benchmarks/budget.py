"""Budgets: the time that a command with `--budget` takes, from its start to its end, against it.

    TFDS_DATA_DIR=... python benchmarks/budget.py [TIMES]

Each line is one command, once to the end of the run and once with `--export` behind it: the budget,
the time that it took, and the second over the first. Everything is written to a folder that goes
away.
"""

import subprocess
import sys
import tempfile
import time

CASES = (
    ("90s", "--dataset", "mnist", "--model", "lenet5"),
    ("60s", "--model", "resnet20"),
    ("120s", "--model", "densenet_bc_100_12", "--batch-size", "32"),
    (
        *("4m", "--dataset", "cifar10", "--model", "resnet20"),
        *("--precision", "mixed_bfloat16", "--data.part", "0.1"),
    ),
)
SECONDS = {"s": 1, "m": 60}


def main(times: int) -> None:
    """Print a line a command."""
    for budget, *options in times * CASES:
        measure(budget, options)
        measure(budget, [*options, "--export"])


def measure(budget: str, options: list[str]) -> None:
    """Run a training with this budget, and print how long it took."""
    budget_seconds = float(budget[:-1]) * SECONDS[budget[-1]]
    command = [sys.executable, "-P", "-m", "epochal", "train", "--budget", budget, *options]
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        seconds = time.monotonic() - start
    ratio = seconds / budget_seconds
    print(f"{budget_seconds:5.0f} s {seconds:6.1f} s {ratio:6.3f}  {' '.join(options)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
