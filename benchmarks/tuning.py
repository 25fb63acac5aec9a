"""The cost of a sweep beside its trainings.

    python benchmarks/tuning.py FOLDER [--trials 12] [--many 50] [--pairs 4]

Trials are LeNet-5 on the embedded digits, three epochs. Prints, for an otherwise idle machine:

- the time of a sweep's trials (`--jobs 1`, from the first one's start to the last one's end) over that of the same
  trainings in one process, and the trials per minute of `--jobs 2`, a core each, over those of `--jobs 1`: medians of
  `pairs`, of which every other one begins with the other side;
- how long a trial takes, in a warm process, from being asked for to the beginning of `fit`, and to the end of its first
  step, before which TensorFlow traces the graphs: medians and 95th percentiles;
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


def swept(folder: Path, name: str, trials: int, jobs: int) -> float:
    """Seconds from the start of the workers' first trial to the end of the last one."""
    options = [
        *MODEL,
        "--name",
        name,
        "--trials",
        str(trials),
        "--jobs",
        str(jobs),
        "--search",
        "any",
    ]
    command = [sys.executable, "-P", "-m", "epochal", "tune", *options]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    place = folder / "sweeps" / name / "trials"
    began = min(path.stat().st_mtime for path in place.glob("*/split-1/environment.json"))
    return max(path.stat().st_mtime for path in place.glob("*/trial.json")) - began


def alone(folder: Path, sweep: Path, many: int) -> dict[str, Any]:
    """The same trainings one after the other in a process of their own, which is this program's child."""
    folder.mkdir()
    command = [sys.executable, __file__, str(folder), "--again", str(sweep), "--many", str(many)]
    return dict(
        json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[
                -1
            ]
        )
    )


def again(folder: Path, sweep: Path, many: int) -> dict[str, Any]:
    """Trains what a sweep trained, in this process; `many` trainings in all, if that is more."""
    from epochal.app.process.tensorflow_import import import_tensorflow

    import_tensorflow(verbose=False)
    import gc

    import keras

    from epochal.app.store.run import Run
    from epochal.app.store.sweep import Sweep
    from epochal.app.training import train
    from epochal.app.tuning.space import changed
    from epochal.app.tuning.worker import forget

    gc.freeze()  # as a worker does
    begins: list[float] = []
    starts = list[float]()
    fit = train.fit
    stored = Sweep(sweep)
    values = [trial.values for trial in stored.trials().values() if not trial.is_damaged]

    def watched(setup: Any, watching: list[Any], checkpoints: Any, checkpoint: Any) -> None:
        first = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: (
                starts.append(time.monotonic() - asked) if batch == 0 else None
            )
        )
        begins.append(time.monotonic() - asked)
        fit(setup, [*watching, first], checkpoints, checkpoint)

    train.fit = watched
    seconds = 0.0
    sizes = []
    first_steps = []
    for number in range(max(many, len(values))):
        asked = time.monotonic()
        starts.clear()
        train.train_at(
            Run(folder / "alone" / str(number)),
            changed(stored.base, values[number % len(values)]),
            test=False,
        )
        first_steps.append(starts[0])
        forget()
        seconds += (time.monotonic() - asked) * (number < len(values))
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    return {"seconds": seconds, "begins": begins[1:], "starts": first_steps[1:], "sizes": sizes}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--many", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.again:
        print(json.dumps(again(asked.folder, asked.again, asked.many)))
        return
    folder = asked.folder.resolve()
    folder.mkdir(parents=True)
    first = folder / "sweeps/0-jobs-1"
    sides: dict[str, Callable[[Path, str], float]] = {
        "jobs-1": lambda folder, name: swept(folder, name, asked.trials, 1),
        "alone": lambda folder, name: float(alone(folder / name, first, asked.trials)["seconds"]),
        "jobs-2": lambda folder, name: swept(folder, name, asked.trials, 2),
    }
    taken = []
    for pair in range(asked.pairs):
        order = list(sides)[:: -1 if pair % 2 else 1]
        taken.append({side: sides[side](folder, f"{pair}-{side}") for side in order})
        print(
            ", ".join(f"{side} {seconds:.1f} s" for side, seconds in taken[-1].items()), flush=True
        )
    cost, gain = (
        statistics.median(seconds["jobs-1"] / seconds[side] for seconds in taken)
        for side in ("alone", "jobs-2")
    )
    print(
        f"sweep / the same trainings in one process: {cost:.3f} ({asked.trials} trials, {asked.pairs} pairs)"
    )
    print(f"trials per minute, two jobs / one: {gain:.2f}")
    found = alone(folder / "many", first, asked.many)
    for what, key in (("fit begins", "begins"), ("first step", "starts")):
        times = sorted(found[key])
        late = times[int(0.95 * (len(times) - 1))]
        print(
            f"a trial's {what} after: {statistics.median(times):.2f} s (95th percentile {late:.2f} s)"
        )
    sizes = found["sizes"]
    print(
        f"memory after {len(sizes)} trials / after 10: {sizes[-1] / sizes[9]:.3f} ({sizes[-1] / 2**20:.0f} MiB)"
    )


if __name__ == "__main__":
    main()
