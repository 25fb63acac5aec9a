"""Training as a story: configuration, data, model, callbacks, fit, evaluation, report."""

import logging
import math
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.data.dataset import Dataset, unreadable
from epochal.app.data.load import load
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.data.previews import previews
from epochal.app.errors import EpochalError, TrainingFailed, UsageError
from epochal.app.evaluation.contact_sheet import strip
from epochal.app.evaluation.run_results import Training, report_results
from epochal.app.evaluation.trained_model import weight_arrays
from epochal.app.process.log import RUN_LOG
from epochal.app.process.signals import STOP, Stop
from epochal.app.store.environment import Environment
from epochal.app.store.result import Result
from epochal.app.store.run import Run
from epochal.app.store.runs import ROOT, claim, default_name
from epochal.app.training.run import rollback
from epochal.app.training.run.budget import budget_for, refuse_hopeless
from epochal.app.training.run.callback_list import CallbackList, early_stopping_of, run_callbacks
from epochal.app.training.run.checkpoints import (
    Checkpoint,
    Checkpoints,
    Trigger,
    restore_variables,
)
from epochal.app.training.run.first_lines import first_lines
from epochal.app.training.run.head import train_head
from epochal.app.training.run.history import History
from epochal.app.training.run.macro_f1 import MacroF1
from epochal.app.training.run.pilot import check_piloted
from epochal.app.training.run.resume import place_to_go_on_from
from epochal.app.training.run.scalar_events import ScalarEvents
from epochal.app.training.run.setup import Setup, set_up, start
from epochal.app.training.run.warm_start import Origin

_LOG = logging.getLogger(__name__)
_UNLIMITED = 1_000_000  # epochs, where a budget ends training
# This share of a budget is lost at most when the process is killed: nothing makes up for it.
_LOST = 0.05
_SHOWN = 12  # images of which the report shows what augmentation makes of them


@dataclass(frozen=True, kw_only=True)
class Session:
    """The process that trains, as far as a training depends on it.

    Args:
        began: `time.monotonic()` when the command began, from which on a budget counts
        export: whether an export follows, for which a budget keeps time
        stop: the signals that end the process
        load: reads the data set of a configuration
    """

    began: float = field(default_factory=time.monotonic)
    export: bool = False
    stop: Stop = STOP
    load: Callable[[Config], Dataset] = load


def train(config: Config, session: Session | None = None) -> Run:
    """Train what `config` describes in a new run folder.

    Raises:
        UsageError: bad data or configuration; nothing is written then.
        TrainingFailed: a loss that is not finite.
        KeyboardInterrupt: a signal, after the state was saved.
    """
    session = session or Session()
    setup, origin, budget = prepare(config, session)
    check_piloted(setup)
    run = claim(config.name or default_name(config))
    if config.name and run.folder.name != config.name:
        _LOG.info(f"{ROOT / config.name} exists: this run is {run.folder}")
    with run.locked():
        _describe(run, setup, origin, test=True)
        beginning = Checkpoint(identity=setup.identity())
        _complete(
            run,
            setup,
            beginning,
            budget,
            stop=session.stop,
            test=True,
        )
    return run


def train_at(run: Run, config: Config, *, test: bool, session: Session | None = None) -> Result:
    """Train what `config` describes in this folder, which need not exist; return the result.

    Goes on where there is a checkpoint, also to a larger `stopping.after` once result.json was
    removed; a result that is there is returned at once. Without `test` the test split is not
    evaluated: all figures are of validation.

    Raises:
        UsageError, TrainingFailed, KeyboardInterrupt: as `train` does, UsageError also as `resume`
            does.
        StorageError: the folder cannot be made, or no checkpoint in it is whole.
        RunInUse: another process trains there.
    """
    session = session or Session()
    run.make()
    with run.locked():
        if run.finished:
            return run.result()
        if any(run.checkpoints.glob("epoch-*")):
            resume(run, config, session, test=test)
        else:
            setup, origin, budget = prepare(config, session)
            _describe(run, setup, origin, test=test)
            beginning = Checkpoint(identity=setup.identity())
            _complete(
                run,
                setup,
                beginning,
                budget,
                stop=session.stop,
                test=test,
            )
        return run.result()


def resume(
    run: Run, config: Config, session: Session | None = None, *, test: bool | None = None
) -> None:
    """Go on from the newest whole checkpoint of a run whose lock the caller holds.

    Of the configuration, `stopping.after` alone may differ from the checkpoint's. Unless `test`
    says whether to evaluate the test split, that is as it was when the run began.

    Raises:
        UsageError: the checkpoint belongs to other data or another configuration, or lies past
            `stopping.after`.
        StorageError: checkpoints exist but none is whole.
    """
    session = session or Session()
    setup = set_up(config, run, load=session.load)
    begin = place_to_go_on_from(run, setup)
    if test is None:
        test = "test" in run.data_card().evaluated
    else:
        run.write_data_card(setup.dataset.card(test=test))
        run.write_config(setup.config)
    budget = budget_for(
        setup,
        session.began,
        fresh=False,
        export=session.export,
    )
    _complete(
        run,
        setup,
        begin,
        budget,
        stop=session.stop,
        test=test,
    )


def prepare(config: Config, session: Session) -> tuple[Setup, Origin | None, Any]:
    """Make all that may still be refused: data, model with first weights, and the budget."""
    refuse_hopeless(config, session.began)
    setup = set_up(config, load=session.load)
    origin = start(setup)
    budget = budget_for(
        setup,
        session.began,
        fresh=True,
        export=session.export,
    )
    return setup, origin, budget


def _describe(run: Run, setup: Setup, origin: Origin | None, *, test: bool) -> None:
    """Write down what is about to be trained, and tell the user."""
    config = setup.config
    init_from = None if origin is None else origin.record()
    run.write_environment(Environment.of_this_process(init_from))
    normalization = setup.dataset.preprocessing.normalization
    if normalization is not None:
        run.write_normalization(normalization.arrays(), normalization.kind)
    run.write_data_card(setup.dataset.card(test=test))
    if test and setup.dataset.digests:
        run.write_file_digests(setup.dataset.digests)
    run.write_config(config)  # last: with it the folder is a run, which can be resumed
    if test:
        with expected_failures(config):
            classes = setup.dataset.preprocessing.classes
            run.write_augmented(strip(previews(setup.batches, classes, _SHOWN)))
    skipped = len(setup.dataset.skipped)
    if skipped:
        _LOG.info(f"{skipped} unusable files are left out; {run.data_file} names them")
    _LOG.info(f"{first_lines(setup, origin)}\nrun: {run.folder}")
    RUN_LOG.debug(f"started: {config.model} on {config.dataset}")
    if origin is not None:
        for line in origin.lines(config, setup.batches.steps):
            RUN_LOG.debug(line)


def _complete(
    run: Run, setup: Setup, begin: Checkpoint, budget: Any, *, stop: Stop, test: bool
) -> None:
    """Fit from a place in training to the end, keep the best weights, evaluate, report."""
    try:
        with stop.deferred() as stopping:
            if setup.config.optim.head_epochs and not begin.arrays:
                with expected_failures(setup.config):
                    train_head(setup, stopping)
            training, reason = fit_with_rollbacks(
                run,
                setup,
                begin,
                budget,
                stopping,
            )
    except EpochalError as error:
        RUN_LOG.debug(f"failed: {error}")
        raise
    except KeyboardInterrupt:
        RUN_LOG.debug("stopped on request, saved")
        _LOG.info(f"saved; go on with: epochal train --resume {run.folder}")
        raise
    if reason:
        RUN_LOG.info(f"ended in epoch {len(training.rows)}: {reason}")
    run.publish_weights(weight_arrays(setup.model), setup.model.name)
    result = report_results(
        run,
        setup.model,
        setup.dataset,
        training,
        test=test,
    )
    log_end(result)


def fit_with_rollbacks(
    run: Run,
    setup: Setup,
    begin: Checkpoint,
    budget: Any,
    stopping: Callable[[], bool],
    *,
    watch: Callable[..., Iterable[Any]] = run_callbacks,
) -> tuple[Training, str | None]:
    """Fit to the end; if the policy says so, go back after a number that is not finite.

    Args:
        run: the folder, whose lock the caller holds
        setup: the model, which is trained, and its data
        begin: the place in training from which to go on
        budget: the callback that ends training in time, or None
        stopping: tells whether the user asked to stop
        watch: makes the other callbacks, as `run_callbacks` does

    Returns:
        What the end of the run needs, and why training ended before the last epoch, if it did.
    """
    config = setup.config
    seconds = min(config.checkpoint_seconds, _LOST * (config.budget_seconds or math.inf))
    while True:
        rollbacks = rollback.count(run)
        early_stopping = early_stopping_of(config)
        history = History(
            run.history_file,
            images_per_step=len(setup.dataset.train) / setup.batches.steps,
            events=ScalarEvents(run.tensorboard),
        )
        others = watch(
            setup,
            run,
            budget,
            rate_scale=rollback.rate_scale(rollbacks),
        )
        watching = [*others, MacroF1(), early_stopping, history]
        checkpoints = Checkpoints(
            run.checkpoints,
            watching,
            begin=begin,
            trigger=Trigger(seconds, stopping),
            position=setup.batches.position,
            rollbacks=rollbacks,
        )
        try:
            fit(setup, watching, checkpoints)
        except callbacks.NonFiniteError as error:
            begin = rollback.go_back(setup, run, error)
            budget = rollback.charged(budget, begin)
            continue
        training = Training(
            config=config,
            rows=history.rows,
            best_epoch=(early_stopping.best_epoch or 0) + 1,
            seconds=checkpoints.elapsed,
            rollbacks=rollbacks,
        )
        reason = early_stopping.reason
        if reason is None and budget is not None:
            reason = budget.reason
        return training, reason


def fit(setup: Setup, watching: Iterable[Any], checkpoints: Checkpoints) -> None:
    """Run Keras' `fit` from where `checkpoints` begins.

    Raises:
        NonFiniteError: a loss is not finite.
        TrainingFailed: in one line, memory runs out.
        UsageError: an image cannot be read any more.
    """
    config = setup.config
    model = setup.model
    begin = checkpoints.begin
    epochs = config.last_epoch if config.budget is None else _UNLIMITED
    dataset = setup.dataset
    validation = evaluation_batches(
        dataset.validation,
        dataset.preprocessing,
        setup.strategy,
    )
    if begin.arrays:
        restore_variables(begin, model)
        rollback.rescale_rate(model, checkpoints.rollbacks - begin.rollbacks)
        # Callbacks ask whether the epoch was begun before.
        setup.batches.position.set(begin.epoch, begin.step)
    everyone = CallbackList(
        [*watching, checkpoints], model=model, epochs=epochs, steps=setup.batches.steps
    )
    with expected_failures(config):
        model.fit(
            setup.batches.dataset(setup.strategy),
            epochs=epochs,
            initial_epoch=epochs if begin.ended else begin.epoch,
            validation_data=validation,
            callbacks=everyone,
            shuffle=False,  # the data set has its own order
            verbose=0,
        )


@contextmanager
def expected_failures(config: Config) -> Iterator[None]:
    """Tell in one line of memory that runs out, and of an image that cannot be read any more.

    Raises:
        TrainingFailed, UsageError: these.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise TrainingFailed(
            f"out of memory with --batch-size {config.global_batch}; start again with less"
        ) from error
    except tf.errors.OpError as error:
        if "IteratorGetNext" not in str(error):
            raise
        raise UsageError(f"{unreadable(error)}, then go on with --resume") from error


def log_end(result: Result) -> None:
    """Log how a run ended, and tell the user when nothing was learned."""
    split = result.judged_on
    figures = result.judged
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    RUN_LOG.debug(
        f"finished: {split} accuracy {figures.accuracy:.4f}, {split} loss {figures.loss:.4f}, "
        f"peak memory {peak:.2f} GiB"
    )
    if result.learned:
        return
    if figures.chance is not None and figures.accuracy > figures.chance:
        RUN_LOG.info(
            f"{figures.count:,} images do not show that it is better than guessing: {split} "
            f"accuracy {figures.accuracy:.4f}, from {figures.accuracy_low:.4f} with 95 % "
            f"certainty, and the commonest class makes {figures.chance:.4f}; evaluate it on more"
        )
    else:
        RUN_LOG.info(
            f"no better than guessing: {split} accuracy {figures.accuracy:.4f}, "
            f"the commonest class makes {figures.chance:.4f}; "
            "epochal doctor and epochal lr-find with the same options tell why"
        )
