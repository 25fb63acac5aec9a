"""Training as a story: set up, claim a folder, fit with callbacks, keep the best weights, evaluate, report."""

import logging
import math
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.data.dataset import unreadable
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.errors import EpochalError, TrainingFailed, UsageError
from epochal.app.evaluation.run_results import Training, conclude
from epochal.app.process.log import RUN_LOG
from epochal.app.process.signals import STOP
from epochal.app.store.run import ROOT, Run, claim, default_name, environment, judged_on, learned
from epochal.app.store.trained_model import publish_weights
from epochal.app.training.run import rollback
from epochal.app.training.run.budget import budget_for, refuse_hopeless
from epochal.app.training.run.checkpoints import Checkpoint, Checkpoints, newest
from epochal.app.training.run.history import History
from epochal.app.training.run.pilot import check_piloted
from epochal.app.training.run.run_callbacks import activations, observers
from epochal.app.training.run.same_run import check_end, check_identity, check_origin
from epochal.app.training.run.setup import Setup, set_up, start, summary
from epochal.app.training.run.warm_start import Origin
from epochal.app.training.step.classifier import Callbacks

_LOG = logging.getLogger(__name__)
_ENOUGH = 1_000_000  # epochs, where a budget ends training
_LOST = 0.05  # of a budget is lost at most when the process is killed: there is no more time to make up for it


def train(config: Config, began: float | None = None, *, export: bool = False) -> Run:
    """Trains what `config` describes in a new run folder.

    A budget counts from `began` on (`time.monotonic`; None is now), and keeps time for an export if there will be one.

    Raises:
        UsageError: bad data or configuration; nothing is written then.
        TrainingFailed: a loss that is not finite.
        KeyboardInterrupt: a signal, after the state was saved.
    """
    began = time.monotonic() if began is None else began
    setup, origin, budget = ready(config, began, export=export)
    check_piloted(setup)
    run = claim(config.name or default_name(config))
    if config.name and run.folder.name != config.name:
        say(f"{ROOT / config.name} exists: this run is {run.folder}")
    with run.locked():
        _begin(setup, run, origin, budget, test=True)
    return run


def train_at(run: Run, config: Config, *, test: bool) -> dict[str, Any]:
    """Trains what `config` describes in exactly this folder, which need not exist, and returns the run's result.

    Goes on where there is a checkpoint, also to a larger `stopping.after` once result.json was removed; a result that
    is there is returned at once. Without `test` the test split is not evaluated: all figures are of validation.

    Raises:
        UsageError, TrainingFailed, KeyboardInterrupt: as `train` does, UsageError also as `resume` does.
        StorageError: when the folder cannot be made, or no checkpoint in it is whole.
        RunInUse: when another process trains there.
    """
    began = time.monotonic()
    run.make()
    with run.locked():
        if not run.finished and any(run.checkpoints.glob("epoch-*")):
            resume(run, config, began, test=test)
        elif not run.finished:
            setup, origin, budget = ready(config, began)
            _begin(setup, run, origin, budget, test=test)
        result: dict[str, Any] = run.read_json("result.json")
    return result


def ready(
    config: Config, began: float, *, export: bool = False
) -> tuple[Setup, Origin | None, Any]:
    """All that may still be refused: the setup with its first weights, and the budget's callback."""
    refuse_hopeless(config, began)
    setup = set_up(config)
    return setup, start(setup), budget_for(setup, began, fresh=True, export=export)


def _begin(setup: Setup, run: Run, origin: Origin | None, budget: Any, *, test: bool) -> None:
    config = setup.config
    run.write_json(
        "environment.json", environment() | ({"init_from": origin.to_dict()} if origin else {})
    )
    run.write_json("data.json", _data_card(setup, test))
    run.write_config(config)  # last: with it the folder is a run, which can be resumed
    if setup.dataset.skipped:
        say(
            f"{len(setup.dataset.skipped)} unusable files are left out; {run.folder}/data.json names them"
        )
    say(f"{summary(setup, origin)}\nrun: {run.folder}")
    RUN_LOG.debug(f"started: {config.model} on {config.dataset}")
    for line in origin.lines(config, setup.batches.steps) if origin else []:
        RUN_LOG.debug(line)
    _train(setup, run, None, budget, test=test)


def resume(
    run: Run,
    config: Config,
    began: float | None = None,
    *,
    test: bool | None = None,
    export: bool = False,
) -> None:
    """Goes on from the newest whole checkpoint of a run whose lock the caller holds; `began`, `export` as in `train`.

    Of the configuration, `stopping.after` alone may differ from the checkpoint's. Unless `test` says whether to
    evaluate the test split, that is as it was when the run began.

    Raises:
        UsageError: when the checkpoint belongs to other data or another configuration, or lies past `stopping.after`.
        StorageError: when checkpoints exist but none is whole.
    """
    began = time.monotonic() if began is None else began
    setup = set_up(config, run)
    checkpoint = newest(run.checkpoints)
    if checkpoint is not None:
        check_identity(checkpoint.identity, setup.identity(), run)
        check_end(checkpoint, config, run)
        done = (checkpoint.epoch + checkpoint.step / setup.batches.steps) / config.last_epoch
        share = f", {done:.0%} done" if config.budget is None else ""
        say(
            f"resuming {run.folder} at step {checkpoint.step + 1} of epoch {checkpoint.epoch + 1}{share}"
        )
    else:
        check_origin(start(setup), run)
        say(f"resuming {run.folder} from its beginning: it has no checkpoint")
    RUN_LOG.debug("resumed" if checkpoint else "started again")
    if test is None:
        test = "test" in run.read_json("data.json").get("evaluated", ["test"])
    else:
        run.write_json("data.json", _data_card(setup, test))
        run.write_config(config)
    _train(setup, run, checkpoint, budget_for(setup, began, fresh=False, export=export), test=test)


def _train(
    setup: Setup, run: Run, checkpoint: Checkpoint | None, budget: Any, *, test: bool
) -> None:
    config = setup.config
    try:
        with STOP.deferred() as asked:
            history, early, seconds = _fitted(setup, run, checkpoint, budget, asked)
    except EpochalError as error:
        RUN_LOG.debug(f"failed: {error}")
        raise
    except KeyboardInterrupt:
        RUN_LOG.debug("stopped on request, saved")
        say(f"saved; go on with: epochal train --resume {run.folder}")
        raise
    if reason := early.reason or (budget and budget.reason):
        RUN_LOG.info(f"ended in epoch {len(history.rows)}: {reason}")
    publish_weights(run, setup.model)
    ended = Training(
        config=config,
        rows=history.rows,
        best_epoch=(early.best_epoch or 0) + 1,
        seconds=seconds,
        rollbacks=rollback.count(run),
    )
    result = conclude(run, setup.model, setup.dataset, ended, test=test)
    _finished(run, result)


def _finished(run: Run, result: dict[str, Any]) -> None:
    """Logs how it ended, and tells when nothing was learned."""
    split = judged_on(result)
    accuracy, chance, loss = (
        result[f"{split}_{figure}"] for figure in ("accuracy", "chance", "loss")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    RUN_LOG.debug(
        f"finished: {split} accuracy {accuracy:.4f}, {split} loss {loss:.4f}, peak memory {peak:.2f} GiB"
    )
    if not learned(result):
        RUN_LOG.info(
            f"no better than guessing: {split} accuracy {accuracy:.4f}, the commonest class makes {chance:.4f}; "
            "epochal doctor and epochal lr-find with the same options tell why",
        )


def _fitted(
    setup: Setup, run: Run, checkpoint: Checkpoint | None, budget: Any, stopping: Callable[[], bool]
) -> tuple[History, Any, float]:
    """Trains to the end, going back where the policy says so; returns what the run's end needs, and the seconds."""
    config = setup.config
    while True:
        back = rollback.count(run)
        early = _early_stopping(config)
        history = History(run.folder / "history.csv", images_per_step=config.batch_size)
        watching = [
            callbacks.Timing(run.folder / "timing.json", warn=RUN_LOG.info),
            *observers(rollback.slowed_setup(setup, back), run, budget),
            early,
            activations(setup, run),
            history,
        ]
        checkpoints = Checkpoints(
            run.checkpoints,
            seconds=min(config.checkpoint_seconds, _LOST * (config.budget_seconds or math.inf)),
            position=setup.batches.position,
            stopping=stopping,
            identity=setup.identity(),
            rollbacks=back if config.nan_policy == "rollback" else None,
        )
        try:
            fit(setup, watching, checkpoints, checkpoint)
            return history, early, checkpoints.elapsed
        except callbacks.NonFiniteError as error:
            checkpoint = rollback.go_back(setup, run, error)
            rollback.charge(budget, checkpoint)


def _early_stopping(config: Config) -> Any:
    """What keeps the best epoch; the last one where validation, being trained on, cannot tell which is the best."""
    least = -math.inf if config.data.split == "all" else 0.0
    return callbacks.EarlyStopping(
        config.stopping.monitor, patience=config.stopping.patience, min_delta=least
    )


def fit(
    setup: Setup, watching: list[Any], checkpoints: Checkpoints, checkpoint: Checkpoint | None
) -> None:
    """Runs Keras' `fit` from the checkpoint, or from the beginning.

    Raises:
        NonFiniteError: when a loss is not finite.
        TrainingFailed: in one line, when memory runs out.
        UsageError: when an image cannot be read any more.
    """
    config = setup.config
    model = setup.model
    dataset = setup.dataset
    epochs = config.last_epoch if config.budget is None else _ENOUGH
    validation = evaluation_batches(dataset.validation, dataset.preprocessing, setup.strategy)
    checkpoints.set_model(model)
    checkpoints.watch(watching)
    if checkpoint is not None:
        checkpoints.resume(checkpoint)
    everyone = Callbacks(
        [*watching, checkpoints],
        add_history=True,
        model=model,
        epochs=epochs,
        steps=setup.batches.steps,
    )
    with expected_failures(config):
        model.fit(
            setup.batches.dataset(setup.strategy),
            epochs=epochs,
            initial_epoch=_initial_epoch(checkpoint, epochs),
            validation_data=validation,
            callbacks=everyone,
            shuffle=False,  # the data set has its own order
            verbose=0,
        )


@contextmanager
def expected_failures(config: Config) -> Iterator[None]:
    """Tells in one line of memory that runs out, and of an image that cannot be read any more.

    Raises:
        TrainingFailed, UsageError: these.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise TrainingFailed(
            f"out of memory with --batch-size {config.batch_size}; start again with less"
        ) from error
    except tf.errors.OpError as error:
        if "IteratorGetNext" not in str(error):
            raise
        raise UsageError(f"{unreadable(error)}, then go on with --resume") from error


def _initial_epoch(checkpoint: Checkpoint | None, epochs: int) -> int:
    if checkpoint is None:
        return 0
    return epochs if checkpoint.ended else checkpoint.epoch


def _data_card(setup: Setup, test: bool) -> dict[str, Any]:
    dataset = setup.dataset
    counts = {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")}
    return {
        **dataset.preprocessing.to_dict(),
        "counts": counts,
        "evaluated": ["validation", "test"] if test else ["validation"],
        "fingerprint": dataset.fingerprint(),
        "skipped": [list(entry) for entry in dataset.skipped],
    }


def say(line: str) -> None:
    """Tells the user, on stderr: results alone go to stdout."""
    _LOG.info(line)
