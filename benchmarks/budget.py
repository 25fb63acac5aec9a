"""How closely `--budget` is kept: the whole command, from its start to its end, against the time it was given.

    TFDS_DATA_DIR=... python benchmarks/budget.py [TIMES]

Each line is a command of its own, once to the end of the run and once with `--export` behind it: what was given, what
it took, and the second over the first. Everything is written to a folder that goes away.
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
        "4m",
        "--dataset",
        "cifar10",
        "--model",
        "resnet20",
        "--precision",
        "mixed_bfloat16",
        "--data.part",
        "0.1",
    ),
)
SECONDS = {"s": 1, "m": 60}


def main(times: int) -> None:
    """Prints a line a command."""
    for budget, *options in times * CASES:
        for more in ([], ["--export"]):
            given = float(budget[:-1]) * SECONDS[budget[-1]]
            with tempfile.TemporaryDirectory() as folder:
                took = seconds(["train", "--budget", budget, *options, *more], folder)
            print(
                f"{given:5.0f} s {took:6.1f} s {took / given:6.3f}  {' '.join([*options, *more])}",
                flush=True,
            )


def seconds(words: list[str], folder: str) -> float:
    """What the command takes."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-P", "-m", "epochal", *words], cwd=folder, check=True, capture_output=True
    )
    return time.monotonic() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
