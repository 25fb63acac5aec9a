"""`epochal train`: a new run, a dry run, or one that goes on."""

from typing import Any

from epochal.app.commands import arguments
from epochal.app.commands import train_modes as preflight
from epochal.app.commands.console import BEGAN, load_tensorflow, say
from epochal.app.commands.train_help import train_help
from epochal.app.data.availability import check_data
from epochal.app.store import run as runs


def run(words: list[str], verbosity: int) -> int:
    """Parses, calls, prints; returns the exit code."""
    if {"-h", "--help"} & set(words):
        print(train_help(), end="")
        return 0
    asked = arguments.train_arguments(words)
    if asked.print_config:
        print(runs.dump(asked.config.to_dict()), end="")
        return 0
    if asked.resume is not None:
        return _resume(asked.resume, verbosity, export=asked.export)
    config = asked.config
    say(
        f"epochal train: {config.model} on {config.dataset}, {config.extent}; loading TensorFlow ..."
    )
    config = check_data(config)
    if verbosity:
        say(runs.dump(config.to_dict()))
    load_tensorflow(verbosity)
    from epochal.app.training import train
    from epochal.app.training.probes import dry_run

    if asked.dry_run:
        dry_run.dry_run(config, BEGAN)
    elif asked.overfit_batches:
        preflight.overfit(config, asked.overfit_batches)
    elif asked.sample_ladder:
        preflight.ladder(config)
    else:
        config = preflight.pilot(config) if asked.pilot else config
        _finish(train.train(config, BEGAN, export=asked.export), export=asked.export)
    return 0


def _resume(where: str, verbosity: int, *, export: bool) -> int:
    run = runs.find(where) if where else runs.newest()
    if run.finished:
        say(f"{run.folder} has already finished; nothing to do")
        if export:
            load_tensorflow(verbosity)
        _finish(run, export=export)
        return 0
    with run.locked():
        config = run.config()
        say(f"epochal train --resume {run.folder}: loading TensorFlow ...")
        load_tensorflow(verbosity)
        from epochal.app.training import train

        train.resume(run, config, BEGAN, export=export)
    _finish(run, export=export)
    return 0


def _finish(run: Any, *, export: bool) -> None:
    """The summary, and the folder of an export, on stdout; what to do next on stderr."""
    result = run.result()
    split = result.judged_on
    figures = result.judged
    interval = f"{figures.accuracy_low:.4f} to {figures.accuracy_high:.4f}"
    print(
        f"{split} accuracy {figures.accuracy:.4f} (95 % interval {interval}, {figures.count:,} images), "
        f"{split} loss {figures.loss:.4f}, "
        f"best epoch {result.best_epoch} of {result.epochs}, {result.wall_seconds:.1f} s"
    )
    say(
        f"\neverything lies in {run.folder}/: report.html, result.json, history.csv, checkpoints/best/"
    )
    then = f"epochal serve {_exported(run).parent}" if export else f"epochal export {run.folder}"
    say(f"""next:
  epochal evaluate {run.folder}
  epochal predict {run.folder} IMAGE ...
  {then}""")


def _exported(run: Any) -> Any:
    """The run's folder under saved_models/, which is printed, too."""
    from epochal.app.export.export import export
    from epochal.app.export.variants import choose_variant

    folder = export(run, None, choose_variant(None, None)).folder
    print(folder)
    return folder
