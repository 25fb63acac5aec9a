"""`epochal train`: a new run, one that goes on, or a try-out that stores nothing."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from epochal.app.commands import train_modes
from epochal.app.commands.arguments import add_settings, flag_of, given_settings, resolve_config
from epochal.app.commands.console import BEGAN, Parser, load_tensorflow, say
from epochal.app.config.files import to_yaml
from epochal.app.errors import UsageError
from epochal.app.store import runs
from epochal.app.store.run import Run

_DESCRIPTION = """\
Train a classifier, evaluate it, report on it.

  epochal train                                            the embedded digits, in half a minute
  epochal train --dataset cifar10 --epochs 2 --augment.flip true
  epochal train --recipe cifar10-resnet20                  a shipped configuration
  epochal train --dataset path/to/folder --image-size 64   one sub-folder a class
  epochal train --resume                                   go on with the newest run
"""
_MODES = ("resume", "dry_run", "overfit_batches", "sample_ladder", "pilot")


def make_parser() -> Parser:
    """Return the parser of `epochal train`: its own options and a flag for each setting."""
    parser = Parser("epochal train", _DESCRIPTION)
    parser.usage = "epochal train [options]"
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="continue a run that was stopped: the newest, or this folder",
    )
    parser.add_argument(
        "--export",
        action="store_true",
        help="then write saved_models/NAME/VERSION/ as epochal export does",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the resolved configuration and stop"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, run two steps, write nothing"
    )
    parser.add_argument(
        "--overfit-batches",
        type=int,
        metavar="N",
        help="train on so many batches until they are known by heart, store nothing",
    )
    parser.add_argument(
        "--sample-ladder",
        action="store_true",
        help="train on 1, 5, 10, 100, ... images, store nothing",
    )
    parser.add_argument(
        "--pilot",
        action="store_true",
        help="train a fifth of the layers on a tenth of the images first",
    )
    add_settings(parser, in_help=True)
    return parser


def parse(words: list[str]) -> Namespace:
    """Return the options, checked against one another.

    Raises:
        UsageError: in one line.
    """
    arguments = make_parser().parse_args(words)
    if arguments.resume is not None:
        _check_resume(arguments)
    batches = arguments.overfit_batches
    if batches is not None and batches < 1:
        raise UsageError(f"--overfit-batches: expected 1 or more, got {batches}")
    modes = _modes(arguments)
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} exclude each other; give one of them")
    if arguments.export and modes and modes[0] not in ("--resume", "--pilot"):
        raise UsageError(f"{modes[0]} stores nothing that --export could write; drop one of both")
    return arguments


def _modes(arguments: Namespace) -> list[str]:
    """The flags that ask for something else than a plain training."""
    flags = []
    for name in _MODES:
        if getattr(arguments, name) not in (None, False):
            flags.append(flag_of(name))
    return flags


def _check_resume(arguments: Namespace) -> None:
    unused = [flag_of(key) for key in given_settings(arguments)]
    unused += [mode for mode in _modes(arguments) if mode != "--resume"]
    for name in ("recipe", "config", "print_config"):
        if getattr(arguments, name):
            unused.append(flag_of(name))
    if unused:
        listed = ", ".join(sorted(unused))
        source = arguments.resume or "RUN"
        raise UsageError(
            f"--resume continues a run with its own configuration; drop {listed}, or begin another "
            f"run with the weights of a finished one: epochal train --init-from {source} ..."
        )


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = parse(words)
    if arguments.resume is not None:
        return _resume(
            arguments.resume,
            verbosity,
            export=arguments.export,
        )
    config = resolve_config(arguments)
    if arguments.pilot and config.init_from is not None:
        raise UsageError(
            f"--pilot trains a smaller network, which {config.init_from} has no weights for; "
            "drop one of both"
        )
    if arguments.print_config:
        print(to_yaml(asdict(config)), end="")
        return 0
    # Imported late: help and --print-config need no NumPy.
    from epochal.app.data.availability import check_data

    say(
        f"epochal train: {config.model} on {config.dataset}, {config.extent}; "
        "loading TensorFlow ..."
    )
    config = check_data(config)
    if verbosity:
        say(to_yaml(asdict(config)))
    load_tensorflow(verbosity)
    from epochal.app.training import train
    from epochal.app.training.probes import dry_run

    if arguments.dry_run:
        dry_run.dry_run(config, BEGAN)
    elif arguments.overfit_batches:
        train_modes.overfit(config, arguments.overfit_batches)
    elif arguments.sample_ladder:
        train_modes.ladder(config)
    else:
        if arguments.pilot:
            config = train_modes.pilot(config)
        session = train.Session(began=BEGAN, export=arguments.export)
        finished = train.train(config, session)
        print_summary(finished, export=arguments.export)
    return 0


def _resume(where: str, verbosity: int, *, export: bool) -> int:
    stopped = runs.find(where) if where else runs.newest()
    if stopped.finished:
        say(
            f"{stopped.folder} has already finished; nothing to do (to train on from its weights: "
            f"epochal train --init-from {stopped.folder} --epochs N)"
        )
        if export:
            load_tensorflow(verbosity)
        print_summary(stopped, export=export)
        return 0
    with stopped.locked():
        config = stopped.config()
        say(f"epochal train --resume {stopped.folder}: loading TensorFlow ...")
        load_tensorflow(verbosity)
        from epochal.app.training import train

        train.resume(
            stopped,
            config,
            train.Session(
                began=BEGAN,
                export=export,
            ),
        )
    print_summary(stopped, export=export)
    return 0


def print_summary(finished: Run, *, export: bool) -> None:
    """Print the figures, and the folder of an export, on stdout; what to do next on stderr."""
    result = finished.result()
    split = result.judged_on
    figures = result.judged
    print(
        f"{split} accuracy {figures.accuracy:.4f} (95 % interval {figures.accuracy_low:.4f} to "
        f"{figures.accuracy_high:.4f}, {figures.count:,} images), {split} loss {figures.loss:.4f}, "
        f"best epoch {result.best_epoch} of {result.epochs}, {result.wall_seconds:.1f} s"
    )
    folder = finished.folder
    say(f"\neverything lies in {folder}/: report.html, result.json, history.csv, checkpoints/best/")
    then = f"epochal export {folder}"
    if export:
        then = f"epochal serve {_export(finished).parent}"
    say(f"next:\n  epochal evaluate {folder}\n  epochal predict {folder} IMAGE ...\n  {then}")


def _export(finished: Run) -> Path:
    """Write the run's folder under saved_models/, and print where it lies."""
    from epochal.app.export.export import export
    from epochal.app.export.variants import choose_variant

    folder = export(finished, None, choose_variant(None, None)).folder
    print(folder)
    return folder
