"""Going back after a number that is not finite: how often, and what the learning rate is from then on."""

from dataclasses import replace
from typing import Any

from app.runs import Run
from app.training.setup import Setup

LIMIT = 3
FACTOR = 10  # by which each rollback divides the rate
_FILE = "rollbacks.json"


def slowed(rate: float, rollbacks: int) -> float:
    """The rate after so many rollbacks."""
    return rate / FACTOR**rollbacks


def slowed_setup(setup: Setup, rollbacks: int) -> Setup:
    """The setup whose schedule, whatever its shape, has the rate after so many rollbacks at its peak."""
    config = setup.config
    return replace(setup, config=replace(config, learning_rate=slowed(config.learning_rate, rollbacks)))


def count(run: Run) -> int:
    """How often the run went back so far, stops and kills included."""
    return len(_rows(run))


def record(run: Run, row: dict[str, Any]) -> None:
    """Adds a rollback to the run's rollbacks.json; from then on it counts."""
    run.write_json(_FILE, [*_rows(run), row])


def _rows(run: Run) -> list[dict[str, Any]]:
    return run.read_json(_FILE) if (run.folder / _FILE).exists() else []
