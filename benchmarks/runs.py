"""Runs of `epochal train` in a folder, for benchmarks that take many sittings."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any


def train_once(folder: Path, name: str, options: str) -> dict[str, Any]:
    """Return the result.json of the run FOLDER/runs/NAME.

    Trains it unless it has finished; a run that was stopped goes on.
    """
    run = folder / "runs" / name
    result = run / "result.json"
    if not result.exists():
        if (run / "config.yaml").exists():
            command = ["train", "--resume", f"runs/{name}"]
        else:
            command = ["train", "--name", name, *options.split()]
        print(f"epochal {' '.join(command)}", file=sys.stderr, flush=True)
        subprocess.run(
            [sys.executable, "-P", "-m", "epochal", *command],
            cwd=folder,
            check=True,
            stdout=sys.stderr,
        )
    return json.loads(result.read_text())


def spread(accuracies: list[float]) -> str:
    """Return the mean, and the standard deviation if there are several."""
    mean = f"{statistics.mean(accuracies):.4f}"
    if len(accuracies) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(accuracies):.4f}"
