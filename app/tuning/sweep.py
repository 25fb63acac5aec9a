"""A sweep as a story: a folder, an oracle behind a chief, workers, a winner that is trained again and tested once."""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

from epochal.app.config import Config
from epochal.app.config.splits import Fold, Splits
from epochal.app.data.load import load
from epochal.app.errors import TrainingFailed
from epochal.app.process.signals import STOP
from epochal.app.store import files as storage
from epochal.app.store.run import Run, dump
from epochal.app.store.sweep import identity, read
from epochal.app.store.trials import Records
from epochal.app.training.run.devices import prepare
from epochal.app.training.train import say, train_at
from epochal.app.tuning import oracles
from epochal.app.tuning.candidates import check_candidates
from epochal.app.tuning.chief import Chief, serve
from epochal.app.tuning.local_workers import Jobs
from epochal.app.tuning.plan import Plan
from epochal.app.tuning.report import conclude_sweep, leaderboard_text, read_sweep
from epochal.app.tuning.selection import winner
from epochal.app.tuning.space import changed
from epochal.callbacks.parts.formatting import is_terminal

_LOOK = 0.2  # seconds between looks at the workers
_FAREWELL = 3.0  # seconds in which workers elsewhere ask once more, and hear that all is done
LOCAL = "127.0.0.1:0"
PATIENCE = 1800.0  # seconds for which a chief waits for workers


def check_splits(plan: Plan, base: Config, where: str) -> None:
    """Checks what is to be trained on which data before anything is written; `where` is the search file, for messages.

    Raises:
        UsageError: the data cannot be had or not be split so often, or no trial can be built as the search says.
    """
    splits = Splits.of(plan.splits)
    name = None if splits.kind == "holdout" else str(Fold(splits, 1))
    prepare(
        base
    )  # before data is loaded: afterwards, this process could not train the winner on several devices
    data = load(replace(base, data=replace(base.data, split=name)))
    check_candidates(plan.space, base, data.preprocessing, where)


def search(run: Run, jobs: int, address: str = LOCAL) -> dict[str, Any]:
    """Runs a sweep, or what is left of it, to its end; the caller holds the folder's lock.

    Args:
        run: the sweep's folder.
        jobs: workers on this machine; 0 where others bring them.
        address: HOST:PORT where the chief answers.

    Returns:
        The sweep's result.json.

    Raises:
        TrainingFailed: when no trial could be scored.
        KeyboardInterrupt: when this process was asked to stop; everything is saved then.
    """
    plan, base = read(run)
    records = Records(run.folder)
    events = records.events(say)
    oracle = oracles.make_oracle(plan, base.epochs)
    values = oracles.replay(oracle, plan, events)
    for trial in {
        event.trial
        for event in events
        if event.values is None and not event.failed and event.score is None
    }:
        records.lost([event for event in events if event.trial == trial], values[trial])
    chief = Chief(plan, oracle, records, _board(run, jobs or 1), identity(run))
    try:
        _run_workers(run, chief, jobs, address)
        if chief.reason:
            say(chief.reason)
        return _conclude(run, plan, base, records)
    except KeyboardInterrupt:
        how = f" --jobs {jobs}" if jobs > 1 else "" if jobs else f" --chief {address}"
        say(f"saved; go on with: epochal tune --resume {run.folder}{how}")
        raise


def _board(run: Run, jobs: int) -> Callable[[str], None]:
    """Shows the leaderboard after a trial: on a terminal as wide as that and in place of the last one."""
    lines = 0

    def show(trial: str) -> None:
        nonlocal lines
        terminal = is_terminal(sys.stderr)
        width = shutil.get_terminal_size().columns - 1 if terminal else None
        text = leaderboard_text(read_sweep(run.folder), width=width, jobs=jobs)
        above = f"\x1b[{lines}F\x1b[J" if lines and terminal else ""
        say(above + text)
        lines = text.count("\n") + 1

    return show


def _run_workers(run: Run, chief: Chief, jobs: int, address: str) -> None:
    server, found = serve(chief, address)
    if not found.startswith(("127.", "localhost:", "[::1]:")):
        say(f"{found} is open to the network, without encryption or password: keep it inside")
    if not jobs:
        say(f"waiting for workers: epochal tune --worker {found} --sweep {run.folder}")
    workers = Jobs(run.folder, chief, found, jobs)
    chief.settle()  # nothing may be left to do but the winner
    try:
        with STOP.deferred() as asked:
            while not chief.done and not asked():
                workers.keep_up()
                chief.lose_silent()
                chief.settle()
                if chief.error:
                    raise chief.error
                if not jobs and time.monotonic() - chief.latest > PATIENCE:
                    raise TrainingFailed(_silence(run, found))
                time.sleep(_LOOK)
            if not asked():
                workers.wait()
                time.sleep(_FAREWELL if not jobs else 0)
    finally:
        workers.end()
        server.stop(grace=1.0)


def _silence(run: Run, address: str) -> str:
    return (
        f"no worker was heard of for {PATIENCE / 60:g} minutes; what was trained is saved, go on with: "
        f"epochal tune --resume {run.folder} --chief {address}"
    )


def _conclude(run: Run, plan: Plan, base: Config, records: Records) -> dict[str, Any]:
    trials = [record for record in records.all().values() if record]
    best = winner(trials, plan)
    if best is None:
        failed = sorted(
            (one for one in trials if one["status"] == "failed"), key=lambda one: one["trial"]
        )
        cause = failed[0]["message"] if failed else "there was none"
        raise TrainingFailed(f"no trial of {run.folder} could be scored; the first: {cause}")
    config = retrained(changed(base, best["values"]), best["epochs"])
    storage.write_bytes(run.folder / "best.yaml", dump(config.to_dict()).encode())
    say(
        f"the winner, trial {best['trial']}, is trained again on all training images: {run.folder}/winner"
    )
    result = train_at(Run(run.folder / "winner"), config, test=True)
    seconds = result.wall_seconds + sum(trial.get("seconds") or 0.0 for trial in trials)
    return conclude_sweep(run.folder, winner=best["trial"], seconds=seconds)


def retrained(config: Config, epochs: list[int]) -> Config:
    """A trial's configuration for training on all images, as long as it took to its best (the splits' median)."""
    after = round(median(epochs))
    return replace(
        config,
        name=None,
        data=replace(config.data, split="all", validation=None),
        stopping=replace(
            config.stopping, after=after if after < config.epochs else None, patience=None
        ),
    )
