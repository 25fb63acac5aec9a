"""Cost of a sweep beside its trainings.

    python benchmarks/tuning.py FOLDER [--trials 12] [--many 50] [--pairs 4]

Trials are LeNet-5 on the embedded digits, three epochs. Prints, for an otherwise idle machine:

- the time of a sweep's trials (`--jobs 1`, from the first one's start to the last one's end) over
  that of the same trainings in one process, and the trials per minute of `--jobs 2`, a core each,
  over those of `--jobs 1`: medians of `pairs`, of which every other one begins with the other side;
- how long a trial takes, in a warm process, from the request to the beginning of `fit`, and to the
  end of its first step, before which TensorFlow traces the graphs: medians and 95th percentiles;
- the memory of one process after `many` trials over that after the tenth.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = ("--model", "lenet5", "--epochs", "3")
FIRST = "sweeps/0-jobs-1"  # whose trainings are repeated


def measure_sweep(folder: Path, name: str, trials: int, jobs: int) -> float:
    """Return the seconds from the start of the workers' first trial to the end of the last one."""
    command = [sys.executable, "-P", "-m", "epochal", "tune", *MODEL, "--name", name]
    command += ["--trials", str(trials), "--jobs", str(jobs), "--search", "any"]
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    place = folder / "sweeps" / name / "trials"
    start = min(path.stat().st_mtime for path in place.glob("*/split-1/environment.json"))
    end = max(path.stat().st_mtime for path in place.glob("*/trial.json"))
    return end - start


def train_in_child(folder: Path, sweep: Path, many: int) -> dict[str, Any]:
    """Return the figures of `train_again`, run in a process that this program starts."""
    folder.mkdir()
    command = [sys.executable, __file__, str(folder), "--again", str(sweep), "--many", str(many)]
    finished = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(finished.stdout.splitlines()[-1]))


def train_again(folder: Path, sweep: Path, many: int) -> dict[str, Any]:
    """Repeat the trainings of a sweep in this process; `many` trainings in all, if that is more.

    Return the seconds of the first round of trainings; for every training but the first, those
    until `fit` begins (`begins`) and until its first step ends (`starts`); and the process's bytes
    after every training (`sizes`).
    """
    from epochal.app.process.tensorflow_import import import_tensorflow

    import_tensorflow(verbose=False)
    import gc

    import keras

    from epochal.app.store.run import Run
    from epochal.app.store.sweep import Sweep
    from epochal.app.training.run.callback_list import run_callbacks
    from epochal.app.tuning.space import changed
    from epochal.app.tuning.worker import forget
    from epochal.callbacks.parts.phase import Phase

    gc.freeze()  # as a worker does
    fit_begins: list[float] = []
    first_steps: list[float] = []
    stored = Sweep(sweep)
    values = [trial.values for trial in stored.trials().values() if not trial.is_damaged]

    def watch(*arguments: Any, **options: Any) -> list[Any]:
        def note_beginning(logs: Any) -> None:
            fit_begins.append(time.monotonic() - start)

        def note_first_step(batch: int, logs: Any) -> None:
            if len(first_steps) < len(fit_begins):
                first_steps.append(time.monotonic() - start)

        noting = keras.callbacks.LambdaCallback(
            on_train_begin=note_beginning, on_train_batch_end=note_first_step
        )
        noting.phase = Phase.MEASURE
        return [*run_callbacks(*arguments, **options), noting]

    seconds = 0.0
    sizes = []
    for number in range(max(many, len(values))):
        start = time.monotonic()
        config = changed(stored.base, values[number % len(values)])
        train_watched(Run(folder / "alone" / str(number)), config, watch)
        forget()
        if number < len(values):
            seconds += time.monotonic() - start
        _, resident_pages, *_ = Path("/proc/self/statm").read_text().split()
        sizes.append(int(resident_pages) * resource.getpagesize())
    return {
        "seconds": seconds,
        "begins": fit_begins[1:],
        "starts": first_steps[1:],
        "sizes": sizes,
    }


def train_watched(run: Any, config: Any, watch: Callable[..., list[Any]]) -> None:
    """Train as a trial's run is trained, with the callbacks that `watch` makes."""
    from epochal.app.evaluation.run_results import report_results
    from epochal.app.evaluation.trained_model import weight_arrays
    from epochal.app.store.environment import Environment
    from epochal.app.training.run.checkpoints import Checkpoint
    from epochal.app.training.train import Session, fit_with_rollbacks, prepare

    run.make()
    session = Session()
    with run.locked(), session.stop.deferred() as stopping:
        setup, _, budget = prepare(config, session)
        run.write_environment(Environment.of_this_process(None))
        run.write_data_card(setup.dataset.card(test=False))
        run.write_config(config)
        beginning = Checkpoint(identity=setup.identity())
        training, _ = fit_with_rollbacks(
            run,
            setup,
            beginning,
            budget,
            stopping,
            watch=watch,
        )
        run.publish_weights(weight_arrays(setup.model), setup.model.name)
        report_results(
            run,
            setup.model,
            setup.dataset,
            training,
            test=False,
        )


def measure_pairs(folder: Path, trials: int, pairs: int) -> dict[str, list[float]]:
    """Return the seconds of the same trials with one job, in one process, and with two jobs."""
    sides: dict[str, Callable[[str], float]] = {
        "jobs-1": lambda name: measure_sweep(
            folder,
            name,
            trials,
            jobs=1,
        ),
        "alone": lambda name: train_in_child(
            folder / name,
            folder / FIRST,
            trials,
        )["seconds"],
        "jobs-2": lambda name: measure_sweep(
            folder,
            name,
            trials,
            jobs=2,
        ),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for pair in range(pairs):
        order = list(sides)
        if pair % 2 == 1:
            order.reverse()
        shown = []
        for side in order:
            taken = sides[side](f"{pair}-{side}")
            seconds[side].append(taken)
            shown.append(f"{side} {taken:.1f} s")
        print(", ".join(shown), flush=True)
    return seconds


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median of the ratios, pair by pair."""
    return statistics.median(
        numerator / denominator
        for numerator, denominator in zip(
            numerators,
            denominators,
            strict=True,
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--many", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.again:
        figures = train_again(
            arguments.folder,
            arguments.again,
            arguments.many,
        )
        print(json.dumps(figures))
        return
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True)
    seconds = measure_pairs(folder, arguments.trials, arguments.pairs)
    cost = median_ratio(seconds["jobs-1"], seconds["alone"])
    gain = median_ratio(seconds["jobs-1"], seconds["jobs-2"])
    print(
        f"sweep / the same trainings in one process: {cost:.3f} "
        f"({arguments.trials} trials, {arguments.pairs} pairs)"
    )
    print(f"trials per minute, two jobs / one: {gain:.2f}")
    figures = train_in_child(
        folder / "many",
        folder / FIRST,
        arguments.many,
    )
    for event, key in (("fit begins", "begins"), ("first step", "starts")):
        times = sorted(figures[key])
        median = statistics.median(times)
        late = times[int(0.95 * (len(times) - 1))]
        print(f"a trial's {event} after: {median:.2f} s (95th percentile {late:.2f} s)")
    sizes = figures["sizes"]
    growth = sizes[-1] / sizes[9]
    print(
        f"memory after {len(sizes)} trials / after 10: {growth:.3f} ({sizes[-1] / 2**20:.0f} MiB)"
    )


if __name__ == "__main__":
    main()
