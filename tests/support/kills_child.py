"""A run that is killed before each of its file operations, for test_resume.py.

A kill leaves the files as they are at that moment. They are copied before every operation that
changes them, and training goes on from each copy, all in one process.
"""

import csv
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochal import callbacks
from epochal.app.config import Config, Emphasis, Optim, Schedule, Stopping
from epochal.app.store import arrays as archive
from epochal.app.store.run import Run
from epochal.app.training.run import state
from epochal.app.training.run.callback_list import run_callbacks
from epochal.app.training.run.checkpoints import Checkpoint, newest
from epochal.app.training.run.resume import place_to_go_on_from
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.train import fit_with_rollbacks
from tests.support.program import WALL_CLOCK

SEED = 20261129
# Five steps an epoch, two batches of validation, a checkpoint after each, and all that has a state.
PLATEAU = Config(
    model="mlp",
    epochs=4,
    batch_size=256,
    learning_rate=0.3,
    checkpoint_seconds=0.0,
    schedule=Schedule(shape="plateau", patience=1, warm_up=1),
    stopping=Stopping(monitor="val_accuracy", patience=1, keep=2),
    optim=Optim(ema=0.9, clip_percentile=50),
    emphasis=Emphasis(by="sampler", start=1),
)
CASES = {
    "plateau": PLATEAU,
    "stuck": replace(
        PLATEAU,
        schedule=Schedule(shape="stuck", window=3, gain=0.5),
        optim=Optim(clip_norm=1.0, micro_batches=2),
    ),
    "one epoch": replace(
        PLATEAU, epochs=1, batch_size=64, schedule=Schedule(), emphasis=Emphasis()
    ),
}
# They trace functions of their own at every start, have no state that training depends on, and are
# in the runs that test_resume.py kills.
_SLOW = (
    callbacks.ActivationMonitor,
    callbacks.GradientFlow,
    callbacks.LossCurves,
    callbacks.Timing,
    callbacks.WeightHistograms,
)
_CHANGES = ("os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")


class Copies:
    """Copies of a folder as it was before each operation that changed it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: list[Path] = []
        self._watched: Path | None = None
        self._latest: dict[str, tuple[int, int, int]] = {}
        sys.addaudithook(self._before)

    @contextmanager
    def of(self, watched: Path) -> Iterator[None]:
        """Watch a folder; forget the copies of the one before."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.places = []
        self._latest = {}
        self._watched = watched
        yield
        self._watched = None

    def _before(self, event: str, arguments: tuple[Any, ...]) -> None:
        watched = self._watched
        if watched is None or not (event in _CHANGES or event == "open"):
            return
        path = arguments[0]
        if not isinstance(path, str | Path) or not Path(path).is_relative_to(watched):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        self._watched = None  # the copies are operations, too
        files = _files(watched)
        if files != self._latest:
            self._latest = files
            place = self.folder / f"{len(self.places):04d}"
            shutil.copytree(watched, place, copy_function=_copy)
            self.places.append(place)
        self._watched = watched


def _files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what tells one state of the files from another."""
    files = {}
    for path in folder.rglob("*"):
        status = path.stat()
        files[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return files


def _copy(source: str, target: str) -> None:
    """Copy a file; one that is published never changes."""
    if "/checkpoints/epoch-" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def watch(setup: Setup, run: Run, budget: Any, *, rate_scale: float) -> list[Any]:
    """Return the callbacks of a run, apart from those that are slow."""
    listed = run_callbacks(setup, run, budget, rate_scale=rate_scale)
    fast = []
    for callback in listed:
        if isinstance(callback, callbacks.TrainingLog):
            callback.every = 2
        if not isinstance(callback, _SLOW):
            fast.append(callback)
    return fast


def train(run: Run, setup: Setup, begin: Checkpoint) -> dict[str, Any]:
    """Train to the end; return all that is left but wall-clock figures."""
    training, reason = fit_with_rollbacks(
        run,
        setup,
        begin,
        None,
        lambda: False,
        watch=watch,
    )
    last = max(run.checkpoints.glob("epoch-*"))
    arrays, values = archive.load(last)
    values["callbacks"]["history"] = _timeless(values["callbacks"]["history"]["rows"])
    del values["elapsed"]
    with open(run.history_file, newline="") as file:
        history = _timeless(csv.DictReader(file))
    left = {
        "place": last.name,
        "end": (reason, training.best_epoch, _timeless(training.rows)),
        "history.csv": history,
        "iterations.jsonl": run.iterations_log.read_bytes(),
        **values,
    }
    for name, array in arrays.items():
        left[name] = array.tobytes()
    for name, variable in state.variables_of(setup.model).items():
        left[f"in the end {name}"] = variable.numpy().tobytes()
    for path in run.best_epochs.iterdir():
        left[path.name] = path.read_bytes()
    return left


def _timeless(rows: Any) -> list[dict[str, Any]]:
    timeless = []
    for row in rows:
        timeless.append({name: row[name] for name in row if name not in WALL_CLOCK})
    return timeless


def resume(run: Run, setup: Setup, first: dict[str, Any]) -> dict[str, Any]:
    """Go on with a run that was killed; without a checkpoint with the first weights."""
    with run.locked():
        if newest(run.checkpoints) is None:
            archive.assign(state.variables_of(setup.model), first, run.folder)
        return train(run, setup, place_to_go_on_from(run, setup))


def main(case: str, devices: str, count: str, folder: str) -> None:
    """Kill a run at `count` places (0: all), every fifth resumed run again; exit 1 if it shows."""
    setup = set_up(replace(CASES[case], devices=int(devices)))
    first = archive.arrays_of(state.variables_of(setup.model))
    copies = Copies(Path(folder) / "copies")
    copies_of_resumed = Copies(Path(folder) / "copies of resumed")
    run = Run(Path(folder) / "whole")
    run.make()
    run.write_data_card(setup.dataset.card(test=True))
    with copies.of(run.folder), run.locked():
        expected = train(run, setup, Checkpoint(identity=setup.identity()))
    places = copies.places
    drawn = random.Random(SEED)
    if int(count):
        places = sorted(drawn.sample(places, int(count)))
    wrong = 0
    for number, place in enumerate(places, 1):
        killed = Run(place)
        with copies_of_resumed.of(place):
            lefts = [resume(killed, setup, first)]
        if number % 5 == 0:
            killed_again = Run(drawn.choice(copies_of_resumed.places))
            lefts.append(resume(killed_again, setup, first))
        for left in lefts:
            differing = [key for key in expected | left if expected.get(key) != left.get(key)]
            if differing:
                wrong += 1
                print(f"killed at {place.name}: {', '.join(differing)}")
    print(f"{case}, {devices} device(s), {expected['end'][0]}: {len(places)} places")
    sys.exit(min(wrong, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
