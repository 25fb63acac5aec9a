"""Training as a story: set up, claim a folder, fit with callbacks, keep the best weights, evaluate, report."""

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

import callbacks
from app.config import Config
from app.data.dataset import unreadable
from app.data.pipeline import evaluation_batches
from app.errors import EpochalError, TrainingFailed, UsageError
from app.evaluation.conclude import Training, conclude
from app.runs import ROOT, Run, check_writable, claim, default_name, environment
from app.signals import STOP
from app.trained import publish_weights
from app.training import rollback
from app.training.budget import budget_for
from app.training.checkpoints import Checkpoint, Checkpoints, newest
from app.training.history import History
from app.training.observers import activations, freezing, observers
from app.training.schedules import arithmetic
from app.training.setup import Setup, set_up, start
from app.training.steps import Callbacks
from app.training.warm_start import Origin

_ENOUGH = 1_000_000  # epochs, where a budget ends training


def train(config: Config, began: float | None = None) -> Run:
    """Trains what `config` describes in a new run folder.

    A budget counts from `began` on (`time.monotonic`; None is now).

    Raises:
        UsageError: bad data or configuration; nothing is written then.
        TrainingFailed: a loss that is not finite.
        KeyboardInterrupt: a signal, after the state was saved.
    """
    began = time.monotonic() if began is None else began
    setup = set_up(config)
    origin = start(setup)
    budget = budget_for(setup, began, fresh=True)
    run = claim(config.name or default_name(config))
    if config.name and run.folder.name != config.name:
        say(f"{ROOT / config.name} exists: this run is {run.folder}")
    with run.locked():
        run.write_json("environment.json", environment() | ({"init_from": origin.to_dict()} if origin else {}))
        run.write_json("data.json", _data_card(setup))
        run.write_config(config)  # last: with it the folder is a run, which can be resumed
        if setup.dataset.skipped:
            say(f"{len(setup.dataset.skipped)} unusable files are left out; {run.folder}/data.json names them")
        say("\n".join([_summary(setup), *_origin_lines(setup, origin), f"run: {run.folder}"]))
        run.log(f"started: {config.model} on {config.dataset}")
        _train(setup, run, None, budget)
    return run


def resume(run: Run, config: Config, began: float | None = None) -> None:
    """Goes on from the newest whole checkpoint of a run whose lock the caller holds; `began` as in `train`.

    Raises:
        StorageError: when checkpoints exist but none is whole, or belongs to other data or another configuration.
    """
    began = time.monotonic() if began is None else began
    setup = set_up(config, run)
    checkpoint = newest(run.checkpoints, say)
    if checkpoint is not None:
        _check_identity(checkpoint.identity, setup.identity(), run)
        done = (checkpoint.epoch + checkpoint.step / setup.batches.steps) / config.epochs
        share = f", {done:.0%} done" if config.budget is None else ""
        say(f"resuming {run.folder} at epoch {checkpoint.epoch + 1} step {checkpoint.step}{share}")
    else:
        _check_origin(start(setup), run)
        say(f"resuming {run.folder} from its beginning: it has no checkpoint")
    run.log("resumed" if checkpoint else "started again")
    _train(setup, run, checkpoint, budget_for(setup, began, fresh=False))


def dry_run(config: Config) -> None:
    """Checks everything a run would need and trains two steps; writes nothing.

    Raises:
        UsageError: as `train` does.
        StorageError: when no run could be made here.
    """
    check_writable()
    setup = set_up(config)
    origin = start(setup)
    model, steps = setup.model, setup.batches.steps
    clock = _Clock()
    fitted = Callbacks(
        [*freezing(config.optim), callbacks.NanGuard(), clock], add_history=True, model=model, epochs=1, steps=2
    )
    model.fit(
        setup.batches.dataset(setup.strategy),
        steps_per_epoch=min(2, steps),
        callbacks=fitted,
        shuffle=False,
        verbose=0,
    )
    folder, minutes = ROOT / (config.name or default_name(config)), clock.last * steps * config.epochs / 60
    about = f"about {minutes:.1f} min, validation apart" if config.budget is None else config.budget
    print("\n".join([f"dry run: {_summary(setup)}", *_origin_lines(setup, origin)]))
    print(f"would train {about}, in {folder}")


def _summary(setup: Setup) -> str:
    config, dataset = setup.config, setup.dataset
    counts = ", ".join(f"{len(getattr(dataset, name)):,} {name}" for name in ("train", "validation", "test"))
    return (
        f"{dataset.name}: {counts} images, {len(dataset.preprocessing.classes)} classes; {config.model}: "
        f"{setup.model.count_params():,} weights; {config.extent}, an epoch has {setup.batches.steps} steps; "
        f"learning rate {arithmetic(config)}"
    )


def _origin_lines(setup: Setup, origin: Origin | None) -> list[str]:
    return origin.lines(setup.config, setup.batches.steps) if origin else []


class _Clock(keras.callbacks.Callback):
    """Seconds of the last step; the first one traces the graph."""

    last = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.last = time.monotonic() - self._began


def _train(setup: Setup, run: Run, checkpoint: Checkpoint | None, budget: Any) -> None:
    config = setup.config
    try:
        with STOP.deferred() as asked:
            history, early, seconds = _fitted(setup, run, checkpoint, budget, asked)
    except EpochalError as error:
        run.log(f"failed: {error}")
        raise
    except KeyboardInterrupt:
        run.log("stopped on request, saved")
        say(f"saved; go on with: epochal train --resume {run.folder}")
        raise
    if reason := early.reason or (budget and budget.reason):
        run.log(f"ended in epoch {len(history.rows)}: {reason}")
        say(f"ended in epoch {len(history.rows)}: {reason}")
    publish_weights(run, setup.model)
    ended = Training(
        config=config,
        rows=history.rows,
        best_epoch=(early.best_epoch or 0) + 1,
        seconds=seconds,
        rollbacks=rollback.count(run),
    )
    result = conclude(run, setup.model, setup.dataset, ended)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    run.log(
        f"finished: test accuracy {result['test_accuracy']:.4f}, test loss {result['test_loss']:.4f}, "
        f"peak memory {peak:.2f} GiB"
    )


def _fitted(
    setup: Setup, run: Run, checkpoint: Checkpoint | None, budget: Any, stopping: Callable[[], bool]
) -> tuple[History, Any, float]:
    """Trains to the end, going back where the policy says so; returns what the run's end needs, and the seconds."""
    config = setup.config
    while True:
        back = rollback.count(run)
        early = callbacks.EarlyStopping(config.stopping.monitor, patience=config.stopping.patience)
        history = History(run.folder / "history.csv", images_per_step=config.batch_size)
        watching = [
            callbacks.Timing(run.folder / "timing.json", warn=partial(_warn, run)),
            *observers(rollback.slowed_setup(setup, back), run, budget),
            early,
            activations(setup, run),
            history,
        ]
        checkpoints = Checkpoints(
            run.checkpoints,
            seconds=config.checkpoint_seconds,
            position=setup.batches.position,
            stopping=stopping,
            identity=setup.identity(),
            rollbacks=back if config.nan_policy == "rollback" else None,
        )
        try:
            fit(setup, watching, checkpoints, checkpoint)
            return history, early, checkpoints.elapsed
        except callbacks.NonFiniteError as error:
            checkpoint = rollback.go_back(setup, run, error, say)
            rollback.charge(budget, checkpoint)


def fit(setup: Setup, watching: list[Any], checkpoints: Checkpoints, checkpoint: Checkpoint | None) -> None:
    """Runs Keras' `fit` from the checkpoint, or from the beginning.

    Raises:
        NonFiniteError: when a loss is not finite.
        TrainingFailed: in one line, when memory runs out.
        UsageError: when an image cannot be read any more.
    """
    config, model, dataset = setup.config, setup.model, setup.dataset
    epochs = config.epochs if config.budget is None else _ENOUGH
    validation = evaluation_batches(dataset.validation, dataset.preprocessing.image_size, setup.strategy)
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
    try:
        model.fit(
            setup.batches.dataset(setup.strategy),
            epochs=epochs,
            initial_epoch=_initial_epoch(checkpoint, epochs),
            validation_data=validation,
            callbacks=everyone,
            shuffle=False,  # the data set has its own order
            verbose=0,
        )
    except tf.errors.ResourceExhaustedError as error:
        raise TrainingFailed(f"out of memory with --batch-size {config.batch_size}; start again with less") from error
    except tf.errors.OpError as error:
        if "IteratorGetNext" not in str(error):
            raise
        raise UsageError(f"{unreadable(error)}, then go on with --resume") from error


def _initial_epoch(checkpoint: Checkpoint | None, epochs: int) -> int:
    if checkpoint is None:
        return 0
    return epochs if checkpoint.ended else checkpoint.epoch


def _check_identity(stored: dict[str, Any], own: dict[str, Any], run: Run) -> None:
    """Refuses to go on with other data or another configuration than the checkpoint's."""
    differing = [key for key, value in stored["config"].items() if own["config"].get(key) != value]
    if differing:
        raise UsageError(
            f"{run.folder}/config.yaml was changed ({', '.join(differing)}); change it back or start a new run"
        )
    if stored["data"] != own["data"]:
        raise UsageError(f"{run.folder}: the data set is not the one it was trained on; restore it or start a new run")


def _check_origin(origin: Origin | None, run: Run) -> None:
    """Refuses to begin a run again with other weights than it was begun with."""
    if origin and origin.weights != run.read_json("environment.json")["init_from"]["weights"]:
        raise UsageError(
            f"{origin.run}: not the weights that {run.folder} was begun with; restore it or start a new run"
        )


def _data_card(setup: Setup) -> dict[str, Any]:
    dataset = setup.dataset
    counts = {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")}
    return {
        **dataset.preprocessing.to_dict(),
        "counts": counts,
        "fingerprint": dataset.fingerprint(),
        "skipped": [list(entry) for entry in dataset.skipped],
    }


def _warn(run: Run, line: str) -> None:
    """Tells the user, and whoever reads the log later."""
    run.log(line)
    say(line)


def say(line: str) -> None:
    """Tells the user, on stderr: results alone go to stdout."""
    print(line, file=sys.stderr, flush=True)
