"""Cost of callbacks: a run's callbacks against the same training without them.

    TFDS_DATA_DIR=... python benchmarks/callback_cost.py [pairs]

ResNet-20 on CIFAR-10, batch 128. Two trainings take turns in one process, 20 steps each: one with
every callback of `epochal train`, checkpoints included, the other with none. Printed are the ratios
of their steps' times (medians over pairs of blocks; the processor's time beside the wall's, because
it is fair where other work goes on), the time that each callback takes at the end of an epoch, and
the share of these in an epoch.
"""

import math
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epochal.app.config import Config
from epochal.app.store.run import Run
from epochal.app.training.run.callback_list import early_stopping_of, run_callbacks
from epochal.app.training.run.checkpoints import Checkpoint, Checkpoints, Trigger
from epochal.app.training.run.history import History
from epochal.app.training.run.scalar_events import ScalarEvents
from epochal.app.training.run.setup import Setup, build_classifier, set_up
from epochal.app.training.step.classifier import Callbacks
from epochal.callbacks.parts.phase import sort_callbacks

BLOCK = 20  # steps in a turn
WARM_UP = 2  # of these do not count: caches are full of the other training


def read_clocks() -> np.ndarray:
    """Return the seconds of the wall's clock and of this process on the processors."""
    return np.array([time.perf_counter(), time.process_time()])


class Turns(keras.callbacks.Callback):
    """Stands last: gives the other training its turn after every block of steps, and waits.

    Args:
        my_turn: acquired before every block.
        other_turn: released after every block.
        blocks: number of blocks after which the training stops.
    """

    def __init__(
        self, my_turn: threading.Semaphore, other_turn: threading.Semaphore, blocks: int
    ) -> None:
        super().__init__()
        self.my_turn = my_turn
        self.other_turn = other_turn
        self.blocks = blocks
        self.step_times: list[np.ndarray] = []  # a step's, from both clocks, for each block
        self._step = 0
        self._start = read_clocks()

    def on_train_begin(self, logs: Any = None) -> None:
        """Wait for the first turn."""
        self.my_turn.acquire()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the time of a block that is complete, and change turns."""
        self._step += 1
        if self._step == WARM_UP:
            self._start = read_clocks()
        if self._step < BLOCK:
            return
        self.step_times.append((read_clocks() - self._start) / (BLOCK - WARM_UP))
        self._step = 0
        self.model.stop_training = len(self.step_times) == self.blocks
        self.other_turn.release()
        if not self.model.stop_training:
            self.my_turn.acquire()


def make_callbacks(setup: Setup, run: Run) -> list[Any]:
    """Return the callbacks that `epochal train` has."""
    early_stopping = early_stopping_of(setup.config)
    history = History(
        run.history_file,
        images_per_step=128,
        events=ScalarEvents(run.tensorboard),
    )
    watching = [*run_callbacks(setup, run, None), early_stopping, history]
    saving = Checkpoints(
        run.checkpoints,
        watching,
        begin=Checkpoint(identity=setup.identity()),
        trigger=Trigger(setup.config.checkpoint_seconds),
        position=setup.batches.position,
    )
    return sort_callbacks([*watching, saving])


def train(setup: Setup, model: Any, watching: list[Any], turns: Turns) -> None:
    """Train until the turns are over."""
    steps = turns.blocks * BLOCK
    everyone = Callbacks(
        [*watching, turns],
        add_history=True,
        model=model,
        epochs=1,
        steps=10**9,
    )
    data = setup.batches.dataset().repeat()
    model.fit(
        data,
        steps_per_epoch=steps,
        callbacks=everyone,
        shuffle=False,
        verbose=0,
    )


def measure_steps(setup: Setup, watching: list[Any], pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of a step with all callbacks and without, `[pairs, 2]` each.

    The columns are the two clocks. A first pair, which traces, does not count.
    """
    first = threading.Semaphore(1)
    second = threading.Semaphore(0)
    bare_turns = Turns(first, second, pairs + 1)
    full_turns = Turns(second, first, pairs + 1)
    bare_model = build_classifier(setup.config, setup.dataset)
    thread = threading.Thread(
        target=train,
        args=(setup, bare_model, [], bare_turns),
    )
    thread.start()
    train(setup, setup.model, watching, full_turns)
    thread.join()
    return np.array(full_turns.step_times[1:]), np.array(bare_turns.step_times[1:])


def measure_epoch_ends(watching: list[Any], times: int = 5) -> list[tuple[float, str]]:
    """Return the seconds that each callback takes at the end of an epoch, and its name.

    They are the smallest of several: nothing but other work makes them longer.
    """
    for callback in watching:
        callback.on_train_begin()
    seconds = [math.inf] * len(watching)
    for epoch in range(times):
        # the accuracy rises, so EarlyStopping keeps the best weights every time
        accuracy = 0.5 + epoch / 10
        logs = {"loss": 1.0, "accuracy": accuracy, "val_loss": 1.0, "val_accuracy": 0.5}
        for place, callback in enumerate(watching):
            start = time.perf_counter()
            callback.on_epoch_end(epoch, logs)
            seconds[place] = min(seconds[place], time.perf_counter() - start)
    names = [type(callback).__name__ for callback in watching]
    return list(zip(seconds, names, strict=True))


def main(pairs: int) -> None:
    """Print the ratio and the shares."""
    setup = set_up(
        Config(
            dataset="cifar10",
            model="resnet20",
            batch_size=128,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        watching = make_callbacks(setup, Run(Path(folder)))
        full, bare = measure_steps(setup, watching, pairs)
        epoch_ends = measure_epoch_ends(watching)
    step = float(np.median(bare[:, 0]))
    steps = setup.batches.steps
    epoch = step * steps
    print(f"step without callbacks: {1000 * step:.0f} ms; an epoch of {steps} steps: {epoch:.1f} s")
    ratios = full / bare
    for clock, column in (("wall", ratios[:, 0]), ("processor", ratios[:, 1])):
        low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
        print(
            f"step with all callbacks / without, {clock}: {middle:.4f} "
            f"(quartiles {low:.3f} to {high:.3f}, {pairs} pairs)"
        )
    for seconds, name in sorted(epoch_ends, reverse=True):
        share = seconds / epoch
        print(f"{name:20} {1000 * seconds:8.1f} ms at the end of an epoch, {share:.3%} of it")
    print(f"together             {sum(seconds for seconds, _ in epoch_ends) / epoch:.3%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
