"""Dry runs: all that a run needs is made and checked; two steps are trained, a batch validated."""

import time
from typing import Any

import keras

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.errors import TrainingFailed
from epochal.app.store.runs import ROOT, check_writable, default_name
from epochal.app.training.run.callback_list import weight_steering
from epochal.app.training.run.first_lines import first_lines
from epochal.app.training.run.pilot import check_piloted
from epochal.app.training.run.rollback import REMEDY, described
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.classifier import Callbacks
from epochal.app.training.step.learning_rate import rate_callbacks
from epochal.app.training.train import Session, expected_failures, prepare
from epochal.app.units import time_of


def dry_run(config: Config, began: float) -> None:
    """Check everything a run would need, train two steps and validate a batch; write nothing.

    A budget counts from `began` on.

    Raises:
        UsageError, TrainingFailed: as `train` does.
        StorageError: when no run could be made here.
    """
    check_writable()
    setup, origin, budget = prepare(config, Session(began=began))
    check_piloted(setup)
    step_seconds = train_two_steps(setup, budget)
    epoch_seconds = step_seconds * setup.batches.steps
    seconds = epoch_seconds * config.last_epoch
    duration = config.budget
    if duration is None:
        duration = f"about {time_of(seconds)}, validation apart"
    name = config.name or default_name(config)
    print(f"dry run: {first_lines(setup, origin)}")
    print(f"would train {duration}, in {ROOT / name}")


def train_two_steps(setup: Setup, budget: Any) -> float:
    """Train as the first two steps of a run would, and return the seconds of the last.

    A batch is validated, too: the graph of inference is another one.
    """
    config = setup.config
    model = setup.model
    steps = setup.batches.steps
    clock = _Clock()
    share = None if budget is None else budget.share
    watching: list[Any] = []
    for rate_callback in rate_callbacks(config, steps, share):
        # Others wait for losses of whole epochs.
        if isinstance(rate_callback, callbacks.RateSchedule):
            watching.append(rate_callback)
    watching += [
        *weight_steering(setup),
        setup.clipping,
        callbacks.NanGuard(),
        clock,
    ]
    try:
        with expected_failures(config):
            model.fit(
                setup.batches.dataset(setup.strategy),
                validation_data=evaluation_batches(
                    setup.dataset.validation,
                    setup.dataset.preprocessing,
                    setup.strategy,
                ),
                validation_steps=1,
                steps_per_epoch=min(2, steps),
                callbacks=Callbacks(
                    watching,
                    add_history=True,
                    model=model,
                    epochs=1,
                    steps=2,
                ),
                shuffle=False,
                verbose=0,
            )
    except callbacks.NonFiniteError as error:
        raise TrainingFailed(f"{described(error)}; {REMEDY}") from error
    return clock.last


class _Clock(keras.callbacks.Callback):
    """Seconds of the last step; the first one traces the graph."""

    last = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.last = time.monotonic() - self._began
