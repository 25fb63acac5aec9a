"""The application against a bare loop (median of interleaved ratios), then its input pipeline alone.

    TFDS_DATA_DIR=... python benchmarks/training.py [pairs]

ResNet-20 on CIFAR-10, batch 128. The application is `fit` with the input pipeline and the callbacks of `epochal train`,
checkpoints and validation apart. Every 30 steps it waits while the bare loop takes as many on one fixed batch of a
model of its own: nothing but the compiled training step. Of each 30 only the last 20 count, because at first the
pipeline's full buffer favours the application, and its filling slows the bare loop.
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
from epochal.app.training.run.setup import Setup, compiled, set_up
from epochal.app.training.step.classifier import Callbacks
from epochal.app.training.train import observers

WARM = 10
COUNTED = 20


class Alternation(keras.callbacks.Callback):
    """Stands last: lets the bare loop run after every block of the application's steps."""

    def __init__(self, bare: Callable[[], Any], pairs: int) -> None:
        super().__init__()
        self.bare = bare
        self.left = pairs + 1  # the first block traces
        self.times: list[tuple[float, float]] = []
        self._began = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """At a block's end: its seconds, and those of a block of the bare loop."""
        place = batch % (WARM + COUNTED) + 1
        if place == WARM:
            self._began = time.perf_counter()
        elif place == WARM + COUNTED:
            whole = time.perf_counter() - self._began
            repeat(self.bare, WARM)
            self.times.append((seconds(self.bare, COUNTED), whole))
            self.left -= 1
            self.model.stop_training = not self.left


def repeat(step: Callable[[], Any], count: int) -> None:
    """Takes steps, and waits for the last."""
    for _ in range(count):
        result = step()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), result)


def seconds(step: Callable[[], Any], count: int) -> float:
    """Wall time of some steps."""
    began = time.perf_counter()
    repeat(step, count)
    return time.perf_counter() - began


def bare_loop(setup: Setup) -> Callable[[], Any]:
    """The compiled training step on one fixed batch."""
    model = compiled(setup.config, setup.dataset)
    batch = next(iter(setup.batches.dataset()))
    return tf.function(lambda: model.train_step(batch))


def main(pairs: int) -> None:
    """Prints the ratios."""
    setup = set_up(Config(dataset="cifar10", model="resnet20", batch_size=128))
    alternation = Alternation(bare_loop(setup), pairs)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [*observers(setup, Run(Path(folder)), None), alternation]
        everyone = Callbacks(callbacks, add_history=True, model=setup.model, epochs=1, steps=10**9)
        steps = (pairs + 1) * (WARM + COUNTED)
        data = setup.batches.dataset().repeat()
        setup.model.fit(data, steps_per_epoch=steps, callbacks=everyone, shuffle=False, verbose=0)
    times = alternation.times[1:]
    images = COUNTED * setup.config.batch_size
    bare = statistics.median(bare for bare, _ in times)
    print(f"bare loop: {images / bare:.0f} images/s")
    ratios = sorted(whole / bare for bare, whole in times)
    print(
        f"application / bare loop: {statistics.median(ratios):.3f} of the time ({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )
    batches = iter(data)
    alone = statistics.median(seconds(lambda: next(batches), 100) / 100 for _ in range(pairs))
    print(f"input pipeline alone: {bare / COUNTED / alone:.0f} times the bare loop")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
