"""What follows a number that is not finite: the step is kept, and the policy says whether training goes back."""

import logging
from dataclasses import replace
from typing import Any

from epochal.app.errors import StorageError, TrainingFailed
from epochal.app.process.log import RUN_LOG
from epochal.app.store.run import Run
from epochal.app.training.failures import failed_step as evidence
from epochal.app.training.run.checkpoints import Checkpoint, newest, pass_over
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.learning_rate import SLOWER, slowed
from epochal.callbacks import NonFiniteError

_LOG = logging.getLogger(__name__)
LIMIT = 3
REMEDY = "start again with a lower --learning-rate or with --optim.clip-norm 1"
_FILE = "rollbacks.json"


def count(run: Run) -> int:
    """How often the run went back so far, stops and kills included."""
    return len(_rows(run))


def slowed_setup(setup: Setup, rollbacks: int) -> Setup:
    """The setup whose schedule, whatever its shape, has the rate after so many rollbacks at its peak."""
    config = setup.config
    least = setup.config.schedule.least
    schedule = replace(config.schedule, least=least and slowed(least, rollbacks))
    rate = slowed(config.learning_rate, rollbacks)
    return replace(setup, config=replace(config, learning_rate=rate, schedule=schedule))


def described(error: NonFiniteError) -> str:
    """What is no number any more, where and at which rate."""
    return (
        f"{error.quantity} is not finite at step {error.step + 1} of epoch {error.epoch + 1} "
        f"(learning rate {error.learning_rate:g})"
    )


def go_back(setup: Setup, run: Run, error: NonFiniteError) -> Checkpoint:
    """Keeps the step, adds the rollback to the run's rollbacks.json and returns the state to go on from.

    Raises:
        TrainingFailed: in one line, when the policy is to stop, the run went back too often, or has no good state.
    """
    what = described(error)
    hint = (
        f"; epochal replay-nan {run.folder} names where it began"
        if _kept(setup, run, error)
        else ""
    )
    rows = _rows(run)
    allowed = setup.config.nan_policy == "rollback" and len(rows) < LIMIT
    good = _last_good(run, rows) if allowed else None
    if good is None:
        after = f" after {len(rows)} rollback(s)" if rows else ""
        raise TrainingFailed(f"{what}{after}; {REMEDY}{hint}") from error
    line = (
        f"{what}: rollback {len(rows) + 1} of {LIMIT}, to step {good.step + 1} of epoch {good.epoch + 1}, "
        f"learning rates divided by {SLOWER ** (len(rows) + 1):,} from there on"
    )
    place = {
        "epoch": error.epoch + 1,
        "step": error.step + 1,
        "back_to": [good.epoch + 1, good.step + 1],
    }
    run.write_json(_FILE, [*rows, {"quantity": error.quantity, **place}])
    RUN_LOG.debug(line)
    _LOG.info(f"{line}{hint}")
    return good


def charge(budget: Any, checkpoint: Checkpoint) -> None:
    """Counts the time since the checkpoint as lost, where there is a budget."""
    if budget:
        now = budget.get_state()
        then = checkpoint.callbacks[type(budget).__name__]
        budget.spent = now["trained"] + now["lost"] - then["trained"] - then["lost"]


def _kept(setup: Setup, run: Run, error: NonFiniteError) -> bool:
    """Whether there is a step to replay; that it cannot be written is no reason to hide what happened."""
    try:
        return evidence.keep(setup, run, error)
    except StorageError as problem:
        _LOG.warning(f"the step cannot be kept: {problem}")
        return False


def _last_good(run: Run, rows: list[dict[str, Any]]) -> Checkpoint | None:
    """The newest checkpoint, unless the last rollback went there in vain and there is one before it."""
    found = newest(run.checkpoints)
    again = found is not None and rows and rows[-1]["back_to"] == [found.epoch + 1, found.step + 1]
    return (
        newest(run.checkpoints) if found and again and pass_over(run.checkpoints, found) else found
    )


def _rows(run: Run) -> list[dict[str, Any]]:
    return run.read_json(_FILE) if (run.folder / _FILE).exists() else []
