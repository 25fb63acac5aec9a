"""Runs of `epochal train` in a folder: what has finished there is not trained again, what was stopped goes on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def trained(folder: Path, name: str, options: str) -> dict[str, Any]:
    """The result.json of FOLDER/runs/NAME, trained now unless it is there."""
    run = Path("runs") / name
    begun = (folder / run / "config.yaml").exists()
    command = (
        ["train", "--resume", str(run)] if begun else ["train", "--name", name, *options.split()]
    )
    if not (folder / run / "result.json").exists():
        print(f"epochal {' '.join(command)}", file=sys.stderr, flush=True)
        subprocess.run(
            [sys.executable, "-P", "-m", "epochal", *command],
            cwd=folder,
            check=True,
            stdout=sys.stderr,
        )
    return json.loads((folder / run / "result.json").read_text())
