"""Speed of the application against a bare loop, and of its input pipeline alone.

    TFDS_DATA_DIR=... python benchmarks/training.py [pairs]

ResNet-20 on CIFAR-10, batch 128. The application is `fit` with the input pipeline and the callbacks
of `epochal train`, checkpoints and validation apart. Every 30 steps it waits while the bare loop
takes as many on one fixed batch with another model: nothing but the compiled training step. Of each
30 only the last 20 count, because at first the pipeline's full buffer favours the application, and
its filling slows the bare loop.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.store.run import Run
from epochal.app.training.run.callback_list import run_callbacks
from epochal.app.training.run.setup import Setup, build_classifier, set_up
from epochal.app.training.step.classifier import Callbacks

WARM_UP = 10
COUNTED = 20


class Alternation(keras.callbacks.Callback):
    """Stands last: lets the bare loop run after every block of the application's steps."""

    def __init__(self, bare: Callable[[], Any], pairs: int) -> None:
        super().__init__()
        self.bare = bare
        self.blocks = pairs + 1  # the first one traces
        self.bare_seconds: list[float] = []
        self.fit_seconds: list[float] = []
        self._start = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the seconds of a complete block, and those of a block of the bare loop."""
        step = batch % (WARM_UP + COUNTED) + 1
        if step == WARM_UP:
            self._start = time.perf_counter()
        elif step == WARM_UP + COUNTED:
            self.fit_seconds.append(time.perf_counter() - self._start)
            repeat(self.bare, WARM_UP)
            self.bare_seconds.append(measure(self.bare, COUNTED))
            self.model.stop_training = len(self.bare_seconds) == self.blocks


def repeat(step: Callable[[], Any], count: int) -> None:
    """Take steps, and wait for the last."""
    for _ in range(count):
        result = step()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), result)


def measure(step: Callable[[], Any], count: int) -> float:
    """Return the seconds that `count` steps take."""
    start = time.perf_counter()
    repeat(step, count)
    return time.perf_counter() - start


def make_bare_step(setup: Setup) -> Callable[[], Any]:
    """Return the compiled training step on one fixed batch."""
    model = build_classifier(setup.config, setup.dataset)
    batch = next(iter(setup.batches.dataset()))
    return tf.function(lambda: model.train_step(batch))


def main(pairs: int) -> None:
    """Print the ratios."""
    setup = set_up(
        Config(
            dataset="cifar10",
            model="resnet20",
            batch_size=128,
        )
    )
    data = setup.batches.dataset().repeat()
    alternation = Alternation(make_bare_step(setup), pairs)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            *run_callbacks(
                setup,
                Run(Path(folder)),
                None,
            ),
            alternation,
        ]
        everyone = Callbacks(
            callbacks,
            add_history=True,
            model=setup.model,
            epochs=1,
            steps=10**9,
        )
        steps = alternation.blocks * (WARM_UP + COUNTED)
        setup.model.fit(
            data,
            steps_per_epoch=steps,
            callbacks=everyone,
            shuffle=False,
            verbose=0,
        )
    bare_seconds = alternation.bare_seconds[1:]
    fit_seconds = alternation.fit_seconds[1:]
    bare = statistics.median(bare_seconds)
    images = COUNTED * setup.config.global_batch
    print(f"bare loop: {images / bare:.0f} images/s")
    ratios = [
        fit / bare
        for fit, bare in zip(
            fit_seconds,
            bare_seconds,
            strict=True,
        )
    ]
    print(
        f"application / bare loop: {statistics.median(ratios):.3f} of the time "
        f"({min(ratios):.3f} to {max(ratios):.3f})"
    )
    batches = iter(data)
    pipeline = statistics.median(measure(lambda: next(batches), 100) / 100 for _ in range(pairs))
    print(f"input pipeline alone: {bare / COUNTED / pipeline:.0f} times the bare loop")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
