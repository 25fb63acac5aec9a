"""A sweep as a story: an oracle behind a chief, workers, a winner that is trained again and tested
once.
"""

import logging
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from statistics import median

from epochal.app.config import Config
from epochal.app.config.splits import Fold, Splits
from epochal.app.data.load import load
from epochal.app.errors import TrainingFailed
from epochal.app.process.signals import STOP
from epochal.app.store import files
from epochal.app.store.plan import Plan
from epochal.app.store.run import dump
from epochal.app.store.sweep import Sweep, SweepResult
from epochal.app.store.trials import FAILED, Trial
from epochal.app.training.run.devices import prepare
from epochal.app.training.train import Session, train_at
from epochal.app.tuning.candidates import check_candidates
from epochal.app.tuning.chief import Chief
from epochal.app.tuning.local_workers import LocalWorkers
from epochal.app.tuning.oracle import Oracle
from epochal.app.tuning.report.leaderboard import LeaderboardDisplay
from epochal.app.tuning.report.sweep_results import conclude_sweep
from epochal.app.tuning.selection import select_winner
from epochal.app.tuning.service import serve
from epochal.app.tuning.space import changed
from epochal.app.tuning.trial import load_unchanged
from epochal.callbacks.parts.formatting import is_terminal

LOCAL = "127.0.0.1:0"
PATIENCE = 1800.0  # seconds for which a chief waits for workers
_LOOK = 0.2  # seconds between looks at the workers
_FAREWELL = 3.0  # seconds in which workers elsewhere ask once more, and hear that all is done
_LOOPBACK = ("127.", "localhost:", "[::1]:")

_logger = logging.getLogger("epochal.sweep")


def check_sweep(plan: Plan, base: Config, where: str) -> dict[str, str]:
    """Check data, splits and candidates before anything is written.

    Args:
        plan: the decisions.
        base: the configuration that trials change.
        where: the search file, for messages.

    Returns:
        Digests of the data set's files by path.

    Raises:
        UsageError: the data cannot be had or not be split so often, or no trial can be built as the
            search says.
    """
    # Before data is loaded: afterwards, this process could not train the winner on several devices.
    prepare(base)
    splits = Splits.of(plan.splits)
    fold = None
    if splits.kind != "holdout":
        fold = str(Fold(splits, 1))
    first_split = replace(base.data, split=fold)
    data = load(replace(base, data=first_split))
    check_candidates(
        plan.space,
        base,
        data.preprocessing,
        where,
    )
    return dict(data.digests)


def check_same_data(sweep: Sweep) -> None:
    """Refuse to go on with a sweep whose data have changed, before any trial fails of it.

    Raises:
        UsageError: saying which files are not those that it was begun with.
    """
    if sweep.file_digests:
        prepare(sweep.base)
        load_unchanged(sweep, sweep.base)


def run_sweep(
    sweep: Sweep, jobs: int, address: str = LOCAL, patience: float = PATIENCE
) -> SweepResult:
    """Run a sweep, or what is left of it, to its end; the caller holds the sweep's lock.

    Args:
        sweep: begun, or stopped.
        jobs: workers on this machine; 0 where others bring them.
        address: HOST:PORT where the chief answers.
        patience: seconds for which it waits for workers of others.

    Raises:
        TrainingFailed: when no trial could be scored.
        KeyboardInterrupt: when this process was asked to stop; everything is saved then.
    """
    oracle = Oracle(sweep.plan, sweep.base.epochs)
    _replay(oracle, sweep)
    display = LeaderboardDisplay(
        sweep,
        jobs=jobs or 1,
        width=_terminal_width,
    )
    chief = Chief(sweep, oracle, display.show)
    try:
        _run_workers(
            chief,
            jobs,
            address,
            patience,
        )
        return _train_winner(sweep)
    except KeyboardInterrupt:
        options = ""
        if jobs > 1:
            options = f" --jobs {jobs}"
        elif jobs == 0:
            options = f" --chief {address}"
        _logger.info(
            "saved; go on with: epochal tune --resume %s%s",
            sweep.folder,
            options,
        )
        raise


def _replay(oracle: Oracle, sweep: Sweep) -> None:
    """Bring a new oracle to where the sweep is; trials whose files are damaged are recorded as
    lost.
    """
    events = sweep.events()
    values = oracle.replay(events)
    for event in events:
        if not event.is_end and event.values is None:
            sweep.record_loss(event.trial, values[event.trial], events)


def _terminal_width() -> int | None:
    """Return the letters that a line of stderr can have; None where that is no terminal."""
    if not is_terminal(sys.stderr):
        return None
    return shutil.get_terminal_size().columns - 1


def _run_workers(chief: Chief, jobs: int, address: str, patience: float) -> None:
    folder = chief.sweep.folder
    server, listening = serve(chief, address)
    if not listening.startswith(_LOOPBACK):
        _logger.warning(
            "%s is open to the network, without encryption or password: keep it inside", listening
        )
    if not jobs:
        _logger.info(
            "waiting for workers: epochal tune --worker %s --sweep %s",
            listening,
            folder,
        )
    workers = LocalWorkers(chief, listening, jobs)
    try:
        with STOP.deferred() as is_stopped:
            while not chief.is_done and not is_stopped():
                workers.restart_dead()
                chief.lose_silent_workers()
                if chief.error:
                    raise chief.error
                if not jobs and chief.silence > patience:
                    raise TrainingFailed(
                        f"no worker was heard of for {patience / 60:g} minutes; what was trained "
                        "is saved, go on with: "
                        f"epochal tune --resume {folder} --chief {listening}"
                    )
                time.sleep(_LOOK)
            if not is_stopped():
                workers.wait()
                time.sleep(0 if jobs else _FAREWELL)
    finally:
        workers.end()
        server.stop(grace=1.0)


def _train_winner(sweep: Sweep) -> SweepResult:
    """Train the winner again on all training images, test it, and conclude the sweep."""
    trials = sweep.trials().values()
    best = select_winner(trials, sweep.plan)
    if best is None:
        raise TrainingFailed(
            f"no trial of {sweep.folder} could be scored; the first: {_first_failure(trials)}"
        )
    config = winner_config(changed(sweep.base, best.values), best)
    files.write_bytes(sweep.best_config, dump(config.to_dict()).encode())
    run = sweep.winner
    _logger.info(
        "the winner, trial %s, is trained again on all training images for %d of %d epochs: %s",
        best.name,
        config.last_epoch,
        config.epochs,
        run.folder,
    )
    session = Session(load=partial(load_unchanged, sweep))
    result = train_at(run, config, test=True, session=session)
    seconds = result.wall_seconds
    for trial in trials:
        seconds += trial.seconds
    return conclude_sweep(sweep, winner=best.name, seconds=seconds)


def _first_failure(trials: Iterable[Trial]) -> str | None:
    for trial in trials:
        if trial.status == FAILED:
            return trial.message
    return "there was none"


def winner_config(config: Config, trial: Trial) -> Config:
    """Return a trial's configuration for training on all images, to the end of its course.

    Where the trial's patience ran out, the course ends at the median of the splits' best epochs:
    no image is left that could validate this training.
    """
    after = None
    patience = config.stopping.patience
    if patience is not None:
        best = round(median(trial.epochs))
        trained = trial.until or config.epochs
        if best + patience <= trained:
            after = best
    data = replace(config.data, split="all", validation=None)
    stopping = replace(config.stopping, after=after, patience=None)
    return replace(
        config,
        name=None,
        data=data,
        stopping=stopping,
    )
