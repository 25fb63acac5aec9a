"""Resuming a run: the place to go on from, and what must be as it was when the run was stopped."""

import logging
from dataclasses import replace
from typing import Any

from epochal.app.config import Config
from epochal.app.config.load import with_earlier_defaults
from epochal.app.data.same_files import check_same_data
from epochal.app.errors import UsageError
from epochal.app.process.log import RUN_LOG
from epochal.app.store.environment import numeric_variables
from epochal.app.store.run import Run
from epochal.app.training.run.checkpoints import Checkpoint, newest
from epochal.app.training.run.setup import Setup, start
from epochal.app.training.run.warm_start import Origin

_LOG = logging.getLogger(__name__)


def place_to_go_on_from(run: Run, setup: Setup) -> Checkpoint:
    """Return the newest whole checkpoint, or the beginning if there is none; tell the user.

    Raises:
        UsageError: it belongs to other data, another configuration or other first weights, or lies
            past the end.
        StorageError: checkpoints exist but none is whole.
    """
    checkpoint = newest(run.checkpoints)
    if checkpoint is None:
        check_same_data(setup.dataset, run.data_card().fingerprint, run)
        check_origin(start(setup), run)
        _LOG.info(f"resuming {run.folder} from its beginning: it has no checkpoint")
        RUN_LOG.debug("started again")
        return Checkpoint(identity=setup.identity())
    check_identity(checkpoint.identity, setup.identity(), run)
    check_same_data(setup.dataset, checkpoint.identity["data"], run)
    check_end(checkpoint, setup.config, run)
    place = f"step {checkpoint.step + 1} of epoch {checkpoint.epoch + 1}"
    if setup.config.budget is None:
        done = checkpoint.epoch + checkpoint.step / setup.batches.steps
        place += f", {done / setup.config.last_epoch:.0%} done"
    _LOG.info(f"resuming {run.folder} at {place}")
    _warn_of_other_variables(run)
    RUN_LOG.debug("resumed")
    return replace(checkpoint, identity=setup.identity())


def _warn_of_other_variables(run: Run) -> None:
    """Warn where the process's environment rounds otherwise than that in which the run began."""
    if not run.environment_file.exists():
        return
    begun = run.environment().variables
    current = numeric_variables()
    for name in sorted(begun.keys() | current.keys()):
        before = begun.get(name, "not set")
        now = current.get(name, "not set")
        if before != now:
            _LOG.warning(
                f"{name} was {before} when the run began, and is {now}: "
                "it may end with weights that differ in rounding"
            )


def check_end(checkpoint: Checkpoint, config: Config, run: Run) -> None:
    """Refuse to end before where training stands."""
    after = config.stopping.after
    epochs = checkpoint.epoch
    if checkpoint.step:
        epochs += 1
    if after is not None and after < epochs:
        raise UsageError(
            f"stopping.after: {run.folder} stands in epoch {epochs}; give that or more, got {after}"
        )


def check_identity(stored: dict[str, Any], current: dict[str, Any], run: Run) -> None:
    """Refuse to go on with another configuration than the checkpoint's."""
    differing = []
    for key, value in with_earlier_defaults(stored["config"]).items():
        if current["config"].get(key) != value:
            differing.append(key)
    if differing:
        raise UsageError(
            f"{run.folder}/config.yaml was changed ({', '.join(differing)}); "
            "change it back or start a new run"
        )


def check_origin(origin: Origin | None, run: Run) -> None:
    """Refuse to begin a run again with other weights than it was begun with."""
    if origin is None:
        return
    begun = run.environment().init_from
    if begun is None or origin.weights != begun.weights:
        raise UsageError(
            f"{origin.run}: not the weights that {run.folder} was begun with; "
            "restore it or start a new run"
        )
