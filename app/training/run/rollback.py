"""Rollbacks: after a number that is not finite, training may go back to a checkpoint."""

import logging
from typing import Any

from epochal import callbacks
from epochal.app.errors import StorageError, TrainingFailed
from epochal.app.process.log import RUN_LOG
from epochal.app.store.rollback import Rollback
from epochal.app.store.run import Run
from epochal.app.training.failures.failed_step import keep_step
from epochal.app.training.run.checkpoints import Checkpoint, newest, pass_over
from epochal.app.training.run.setup import Setup

LIMIT = 3
REMEDY = "start again with a lower --learning-rate or with --optim.clip-norm 1"
_SLOW_DOWN = 10  # divides all learning rates at each rollback
_LOG = logging.getLogger(__name__)


def count(run: Run) -> int:
    """Return how often the run went back so far, stops and kills included."""
    return len(run.rollbacks())


def rate_scale(rollbacks: int) -> float:
    """Return the factor of learning rates after `rollbacks` divisions by the slow-down factor."""
    return 1 / _SLOW_DOWN**rollbacks


def rescale_rate(model: Any, rollbacks: int) -> None:
    """Divide the optimizer's learning rate by the slow-down factor, once for each rollback."""
    if rollbacks:
        rate = float(model.optimizer.learning_rate.numpy())
        model.optimizer.learning_rate = rate * rate_scale(rollbacks)


def described(error: callbacks.NonFiniteError) -> str:
    """Return the quantity that is not finite, its place and the learning rate in one line."""
    return (
        f"{error.quantity} is not finite at step {error.step + 1} of epoch {error.epoch + 1} "
        f"(learning rate {error.learning_rate:g})"
    )


def go_back(setup: Setup, run: Run, error: callbacks.NonFiniteError) -> Checkpoint:
    """Keep the step, add the rollback to those of the run, and return the checkpoint to go on from.

    Raises:
        TrainingFailed: in one line, the policy is to stop, the run went back too often, or has no
            good checkpoint.
    """
    rollbacks = run.rollbacks()
    what = described(error)
    hint = ""
    if _is_kept(setup, run, error):
        hint = f"; epochal replay-nan {run.folder} names where it began"
    good = None
    if setup.config.nan_policy == "rollback" and len(rollbacks) < LIMIT:
        good = last_good(run, rollbacks)
    if good is None:
        after = ""
        if rollbacks:
            after = f" after {len(rollbacks)} rollback(s)"
        raise TrainingFailed(f"{what}{after}; {REMEDY}{hint}") from error
    latest = Rollback(
        quantity=error.quantity,
        epoch=error.epoch + 1,
        step=error.step + 1,
        back_to=(good.epoch + 1, good.step + 1),
    )
    run.write_rollbacks([*rollbacks, latest])
    number = len(rollbacks) + 1
    line = (
        f"{what}: rollback {number} of {LIMIT}, to step {good.step + 1} of epoch {good.epoch + 1}, "
        f"learning rates divided by {_SLOW_DOWN**number:,} from there on"
    )
    RUN_LOG.debug(line)
    _LOG.info(f"{line}{hint}")
    return good


def last_good(run: Run, rollbacks: list[Rollback]) -> Checkpoint | None:
    """Return the newest checkpoint, or the one before if a rollback to it was in vain."""
    checkpoint = newest(run.checkpoints)
    if checkpoint is None or not rollbacks:
        return checkpoint
    place = (checkpoint.epoch + 1, checkpoint.step + 1)
    if rollbacks[-1].back_to == place and pass_over(run.checkpoints, checkpoint):
        return newest(run.checkpoints)
    return checkpoint


def charged(budget: callbacks.Budget | None, checkpoint: Checkpoint) -> callbacks.Budget | None:
    """Return the budget for training on from the checkpoint; the time since then is lost."""
    if budget is None:
        return None
    now = budget.get_state()
    then = checkpoint.callbacks[budget.key]
    lost = now["trained"] + now["lost"] - then["trained"] - then["lost"]
    return callbacks.Budget(
        budget.seconds,
        after=budget.after,
        validation=budget.validation,
        spent=lost,
    )


def _is_kept(setup: Setup, run: Run, error: callbacks.NonFiniteError) -> bool:
    """Keep the step for a replay; return whether it could be kept.

    A disk that is full is no reason to hide what happened.
    """
    try:
        return keep_step(setup, run, error)
    except StorageError as problem:
        _LOG.warning(f"the step cannot be kept: {problem}")
        return False
