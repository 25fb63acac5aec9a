"""Application against a bare loop, and the input pipeline alone: medians of interleaved ratios.

    TFDS_DATA_DIR=... python benchmarks/training.py [pairs]

A block is 20 steps of ResNet-20 on CIFAR-10, batch 128. The bare loop calls the compiled training step on one fixed
batch; the application's block is the same step with the input pipeline and the callbacks of `epochal train`
(checkpoints and validation apart). Blocks alternate, so that both meet the same load on the machine.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from app.config import Config
from app.runs import Run
from app.training.setup import Setup, set_up
from app.training.steps import Callbacks
from app.training.train import _observers

STEPS = 20


def seconds(block: Callable[[], None]) -> float:
    """Wall time of one block."""
    began = time.perf_counter()
    block()
    return time.perf_counter() - began


def main(pairs: int) -> None:
    """Prints the two ratios."""
    setup = set_up(Config(dataset="cifar10", model="resnet20", batch_size=128))
    data = iter(setup.batches.dataset().repeat())
    everyone, fixed = _started(setup), tf.data.Dataset.from_tensors(next(data)).cache().repeat()
    bare_iterator = iter(fixed)
    step = setup.model.train_function

    def bare() -> None:
        for _ in range(STEPS):
            step(bare_iterator)

    def whole() -> None:
        for number in range(STEPS):
            everyone.on_train_batch_begin(number)
            everyone.on_train_batch_end(number, step(data))

    def pipeline() -> None:
        for _ in range(STEPS):
            next(data)

    bare(), whole()
    times = [(seconds(bare), seconds(whole), seconds(pipeline)) for _ in range(pairs)]
    images = STEPS * setup.config.batch_size
    print(f"bare loop: {statistics.median(images / bare for bare, _, _ in times):.0f} images/s")
    print(f"application / bare loop: {statistics.median(whole / bare for bare, whole, _ in times):.3f} of the time")
    print(
        f"input pipeline alone: {statistics.median(bare / alone for bare, _, alone in times):.0f} times the bare loop"
    )


def _started(setup: Setup) -> Callbacks:
    run = Run(Path(tempfile.mkdtemp()))
    callbacks = Callbacks(_observers(setup, run), model=setup.model, epochs=1, steps=setup.batches.steps)
    setup.model.make_train_function()
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    return callbacks


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
