"""The README's two commands, as it prints them, in a new virtual environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

COMMANDS = re.findall(
    r"^    (pip install .* && .*)$", (ROOT / "README.md").read_text(), re.MULTILINE
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what git would check out, with an empty environment in venv/."""
    folder = tmp_path_factory.mktemp("new") / "epochal"
    shutil.copytree(
        ROOT,
        folder,
        symlinks=True,
        ignore=shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "runs", "saved_*"),
    )
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    return folder


def shell(command: str, checkout: Path) -> None:
    """Run a line in the environment; it must succeed."""
    environment = {**os.environ, "PATH": f"{checkout / 'venv/bin'}:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["bash", "-ec", command], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_the_first_command_trains(checkout: Path) -> None:
    install, train = COMMANDS[0].split(" && ")
    shell(install, checkout)
    shell(train, checkout)
    (result,) = (checkout / "runs").glob("*/result.json")
    assert json.loads(result.read_text())["test_accuracy"] >= 0.97


@pytest.mark.slow
def test_the_second_command_tests(checkout: Path) -> None:
    # All of the suite is what called this test.
    shell(f"{COMMANDS[1]} tests/app/commands/test_cli.py", checkout)
