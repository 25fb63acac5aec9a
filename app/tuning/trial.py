"""One trial: a configuration trained and scored on every split, each an ordinary run."""

import statistics
import time
from dataclasses import replace
from functools import partial

import tensorflow as tf

from epochal.app.config import Config
from epochal.app.config.splits import Fold, Splits
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.data.same_files import describe_changes
from epochal.app.errors import EpochalError, RunInUse, StorageError, UsageError
from epochal.app.store.result import Result
from epochal.app.store.run import Run
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import COMPLETED, DROPPED, Outcome, Proposal, failed
from epochal.app.training.train import Session, train_at
from epochal.app.tuning.selection import is_clearly_worse, rank_completed
from epochal.app.tuning.space import changed

_WAIT = 2.0  # seconds between looks at a run that a worker still holds
_MESSAGE = 500  # characters of an error that are kept


def run_trial(sweep: Sweep, proposal: Proposal) -> None:
    """Train a trial, or resume it, and leave its report beside its runs.

    Raises:
        StorageError: when something cannot be written.
        KeyboardInterrupt: when this process was asked to stop; the trial's runs are saved.
    """
    began = time.monotonic()
    try:
        outcome = _train_splits(sweep, proposal)
    except StorageError:  # the disk's fault, not the trial's
        raise
    except (EpochalError, tf.errors.OpError, MemoryError, ValueError, TypeError) as error:
        words = str(error).split()
        message = " ".join(words)[:_MESSAGE]
        if not isinstance(error, EpochalError):
            message = f"{type(error).__name__}: {message}"
        seconds = time.monotonic() - began
        outcome = failed(message, round(seconds, 2))
    sweep.write_outcome(proposal.trial, outcome)


def load_unchanged(sweep: Sweep, config: Config) -> Dataset:
    """Load the data set for a run of a sweep.

    Raises:
        UsageError: as `load` does, or its files are not those that the sweep was begun with.
    """
    dataset = load(config)
    before = sweep.file_digests
    if before and list(before.values()) != list(dataset.digests.values()):
        changes = describe_changes(before, dataset.digests)
        raise UsageError(
            f"{sweep.folder}: the data set is not the one the sweep was begun with{changes}; "
            "restore it or start a new sweep"
        )
    return dataset


def _train_splits(sweep: Sweep, proposal: Proposal) -> Outcome:
    plan = sweep.plan
    config = changed(sweep.base, proposal.values)
    splits = Splits.of(plan.splits)
    # Hyperband drops trials by rungs, and needs every split of those that it promotes.
    may_drop = plan.algorithm != "hyperband"
    results: list[Result] = []
    scores: list[float] = []
    seconds_before = 0.0
    for split in range(1, splits.count + 1):
        run = sweep.split_run(proposal.trial, split)
        if proposal.promoted_from:
            origin = sweep.split_run(proposal.promoted_from, split)
            seconds_before += origin.result().wall_seconds
            if not run.folder.exists():
                origin.copy_unfinished(run.folder)
        split_config = _split_config(
            config,
            splits,
            split,
            proposal.until,
        )
        session = Session(load=partial(load_unchanged, sweep))
        result = _train_run(run, split_config, session)
        results.append(result)
        scores.append(_score(result, plan.monitor))
        if may_drop and split < splits.count and _is_hopeless(sweep, scores):
            break
    status = DROPPED
    if len(results) == splits.count:
        status = COMPLETED
    return _outcome_of(
        results,
        scores,
        status,
        seconds_before,
    )


def _outcome_of(
    results: list[Result], scores: list[float], status: str, seconds_before: float
) -> Outcome:
    """Return the outcome of a trial; `seconds_before` were spent by those that it was promoted
    from.
    """
    seconds = -seconds_before
    epochs = []
    for result in results:
        seconds += result.wall_seconds
        epochs.append(result.best_epoch or result.epochs)
    spread = None
    if len(scores) > 1:
        spread = statistics.stdev(scores)
    return Outcome(
        status=status,
        score=statistics.mean(scores),
        scores=tuple(scores),
        spread=spread,
        epochs=tuple(epochs),
        weights=results[0].params,
        seconds=round(seconds, 2),
    )


def _split_config(config: Config, splits: Splits, number: int, until: int | None) -> Config:
    """Return the configuration of a trial's run on one split, that ends after the epoch `until`."""
    fold = None
    if splits.kind != "holdout":
        fold = str(Fold(splits, number))
    data = replace(config.data, split=fold)
    stopping = replace(config.stopping, after=until)
    return replace(
        config,
        name=None,
        data=data,
        stopping=stopping,
    )


def _score(result: Result, monitor: str) -> float:
    """Return the figure of validation that trials are compared by."""
    assert result.validation is not None
    if monitor == "val_loss":
        return result.validation.loss
    if monitor == "val_macro_f1":
        assert result.validation.macro_f1 is not None
        return result.validation.macro_f1
    return result.validation.accuracy


def _train_run(run: Run, config: Config, session: Session) -> Result:
    """Return the run's result; wait while another worker, thought dead, still holds the run."""
    while True:
        try:
            return train_at(
                run,
                config,
                test=False,
                session=session,
            )
        except RunInUse:
            time.sleep(_WAIT)


def _is_hopeless(sweep: Sweep, scores: list[float]) -> bool:
    """Whether the scores are clearly worse than those of the best trial so far on the same
    splits.
    """
    ranked = rank_completed(sweep.trials().values(), sweep.plan.sign)
    return bool(ranked) and is_clearly_worse(
        scores,
        ranked[0].scores,
        sweep.plan.sign,
    )
