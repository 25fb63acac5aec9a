"""A run that leaves nothing behind: everything is made and checked, and two steps are trained."""

import time
from typing import Any

import keras

import callbacks
from app.config import Config
from app.runs import ROOT, check_writable, default_name
from app.training.observers import by_epoch
from app.training.setup import set_up, start, summary
from app.training.steps import Callbacks


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
        [*by_epoch(setup), callbacks.NanGuard(), clock], add_history=True, model=model, epochs=1, steps=2
    )
    model.fit(
        setup.batches.dataset(setup.strategy),
        steps_per_epoch=min(2, steps),
        callbacks=fitted,
        shuffle=False,
        verbose=0,
    )
    folder, minutes = ROOT / (config.name or default_name(config)), clock.last * steps * config.last_epoch / 60
    about = f"about {minutes:.1f} min, validation apart" if config.budget is None else config.budget
    print(f"dry run: {summary(setup, origin)}\nwould train {about}, in {folder}")


class _Clock(keras.callbacks.Callback):
    """Seconds of the last step; the first one traces the graph."""

    last = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.last = time.monotonic() - self._began
