"""What watching costs: a run's callbacks against the same training without them, by interleaved blocks of steps.

    TFDS_DATA_DIR=... python benchmarks/callback_cost.py [pairs]

ResNet-20 on CIFAR-10, batch 128. Two trainings take turns in one process, 20 steps each: one with every callback of
`epochal train`, checkpoints included, the other with none. Printed are the ratios of their steps' times (medians over
pairs of blocks; the processor's time beside the wall's, because it is fair where other work goes on), what each
callback takes at the end of an epoch, and the share of these in an epoch.
"""

import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.store.run import Run
from epochal.app.training.run.checkpoints import Checkpoints
from epochal.app.training.run.history import History
from epochal.app.training.run.run_callbacks import activations, observers
from epochal.app.training.run.setup import Setup, compiled, set_up
from epochal.app.training.step.classifier import Callbacks

BLOCK = 20
WARM = (
    2  # steps in a turn; those at its beginning that do not count: caches are the other training's
)


def now() -> np.ndarray:
    """Seconds of the wall's clock and of this process on the processors."""
    return np.array([time.perf_counter(), time.process_time()])


class Turns(keras.callbacks.Callback):
    """Stands last: hands over to the other training after every block of steps, and waits for its turn."""

    def __init__(self, own: threading.Semaphore, other: threading.Semaphore, blocks: int) -> None:
        super().__init__()
        self.own = own
        self.other = other
        self.blocks = blocks
        self.times: list[
            np.ndarray
        ] = []  # of a step in each block: seconds of the wall's clock and the processor's
        self._step = 0
        self._began = now()

    def on_train_begin(self, logs: Any = None) -> None:
        """Waits for the first turn."""
        self.own.acquire()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes a block's time; the first one traces."""
        self._step += 1
        if self._step == WARM:
            self._began = now()
        if self._step == BLOCK:
            self.times.append((now() - self._began) / (BLOCK - WARM))
            self._step = 0
            self.model.stop_training = len(self.times) == self.blocks
            self.other.release()
            if not self.model.stop_training:
                self.own.acquire()


class Timed:
    """The ends of epochs of one callback, timed."""

    def __init__(self, callback: Any) -> None:
        self.name = type(callback).__name__
        self.act = callback.on_epoch_end
        self.seconds = 0.0
        callback.on_epoch_end = self

    def __call__(self, epoch: int, logs: Any = None) -> None:
        """Takes the smallest of its times: nothing but other work makes it longer."""
        began = time.perf_counter()
        self.act(epoch, logs)
        spent = time.perf_counter() - began
        self.seconds = min(self.seconds or spent, spent)


def of_a_run(setup: Setup, run: Run) -> list[Any]:
    """The callbacks that `epochal train` has."""
    timing = callbacks.Timing(run.folder / "timing.json")
    early = callbacks.EarlyStopping("accuracy")
    history = History(run.folder / "history.csv", images_per_step=128)
    watching = [
        timing,
        *observers(setup, run, None),
        early,
        activations(setup, run),
        history,
    ]
    saving = Checkpoints(
        run.checkpoints,
        seconds=setup.config.checkpoint_seconds,
        position=setup.batches.position,
        stopping=lambda: False,
        identity=setup.identity(),
    )
    saving.set_model(setup.model)
    saving.watch(watching)
    return [*watching, saving]


def train(setup: Setup, model: Any, watching: list[Any], turns: Turns, steps: int) -> None:
    """Trains until the turns are over."""
    everyone = Callbacks([*watching, turns], add_history=True, model=model, epochs=1, steps=10**9)
    data = setup.batches.dataset().repeat()
    model.fit(data, steps_per_epoch=steps, callbacks=everyone, shuffle=False, verbose=0)


def step_ratios(setup: Setup, watching: list[Any], pairs: int) -> tuple[np.ndarray, float]:
    """Of the times of a step with and without callbacks, `[pairs, 2]`; and the wall's seconds of a step without."""
    first = threading.Semaphore(1)
    second = threading.Semaphore(0)
    steps = (pairs + 1) * BLOCK
    bare = Turns(first, second, pairs + 1)
    full = Turns(second, first, pairs + 1)
    beside = partial(train, setup, compiled(setup.config, setup.dataset), [], bare, steps)
    thread = threading.Thread(target=beside)
    thread.start()
    train(setup, setup.model, watching, full, steps)
    thread.join()
    without = np.array(bare.times[1:])
    with_all = np.array(full.times[1:])
    return with_all / without, float(np.median(without[:, 0]))


def epoch_ends(watching: list[Any], logs: dict[str, float], times: int = 5) -> list[Timed]:
    """Every callback's end of an epoch, some times over."""
    timed = [Timed(callback) for callback in watching]
    for callback in watching:
        callback.on_train_begin()
    for epoch in range(times):
        for callback in watching:
            callback.on_epoch_end(
                epoch, logs | {"accuracy": 0.5 + epoch / 10}
            )  # EarlyStopping keeps the best
    return timed


def main(pairs: int) -> None:
    """Prints the ratio and the shares."""
    setup = set_up(Config(dataset="cifar10", model="resnet20", batch_size=128))
    with tempfile.TemporaryDirectory() as folder:
        watching = of_a_run(setup, Run(Path(folder)))
        ratios, step = step_ratios(setup, watching, pairs)
        ends = epoch_ends(watching, {"loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5})
    epoch = step * setup.batches.steps
    print(
        f"step without callbacks: {1000 * step:.0f} ms; an epoch of {setup.batches.steps} steps: {epoch:.1f} s"
    )
    for clock, column in zip(("wall", "processor"), ratios.T, strict=True):
        spread = f"quartiles {np.quantile(column, 0.25):.3f} to {np.quantile(column, 0.75):.3f}"
        print(
            f"step with all callbacks / without, {clock}: {np.median(column):.4f} ({spread}, {len(column)} pairs)"
        )
    for end in sorted(ends, key=lambda end: -end.seconds):
        print(
            f"{end.name:20} {1000 * end.seconds:8.1f} ms at the end of an epoch, {end.seconds / epoch:.3%} of it"
        )
    print(f"together             {sum(end.seconds for end in ends) / epoch:.3%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
