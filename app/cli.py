"""The command line: parse, call, print. No logic, and no TensorFlow before the arguments are known to be good."""

import json
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any, NoReturn

from app.errors import EpochalError, StorageError, UsageError, suggestion
from app.signals import STOP

_HELP = """\
usage: epochal COMMAND [options]

  epochal train                                            the embedded digits, in half a minute
  epochal train --dataset cifar10 --model resnet20 --epochs 2
  epochal train --dataset path/to/folder --image-size 64   one sub-folder a class

commands:
  train      train a classifier, evaluate it, report on it; --resume goes on where a run was stopped
  evaluate   the figures of a finished run, computed again
  predict    labels and probabilities for image files
  export     a SavedModel with preprocessing and labels inside, proven to answer like the run
  models     the zoo, and what its models and finished runs cost
  lr-plan    the learning rate of a configuration, epoch by epoch
  lr-find    short trainings at a range of learning rates, and the one to begin with

options of every command:
  -h, --help      what it takes
  -v, -vv         say more: -v the resolved configuration of a training; -vv lets TensorFlow speak, too
  --debug         show the traceback of an error

exit codes:
  0 ok   1 a bug   2 usage or data   4 storage   5 training failed   6 run in use   130 Ctrl-C   143 SIGTERM
"""


class _Parser(ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    words = [word for word in given if word not in ("-v", "-vv", "--debug")]
    debug, verbosity = "--debug" in given, 2 if "-vv" in given else int("-v" in given)
    STOP.install()
    try:
        return _dispatch(words, verbosity)
    except KeyboardInterrupt:
        _say("stopped")
        return STOP.exit_code or 130
    except EpochalError as error:
        if debug:
            raise
        return _report(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; nothing is wrong here
        return 0
    except OSError as error:
        if debug:
            raise
        place = error.filename or "a file"
        return _report(StorageError(f"{place}: {error.strerror or error}; free space or change the permissions"))
    except Exception as error:
        if debug:
            raise
        print(
            f"error: bug: {type(error).__name__}: {_line(str(error))}; run again with --debug and report it",
            file=sys.stderr,
        )
        return 1


def _dispatch(words: list[str], verbosity: int) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"epochal {version('epochal')}")
        return 0
    if words[0] not in _COMMANDS:
        raise UsageError(f"unknown command {words[0]}{suggestion(words[0], list(_COMMANDS))}; see epochal --help")
    return _COMMANDS[words[0]](words[1:], verbosity)


def _train(words: list[str], verbosity: int) -> int:
    from app import arguments

    if {"-h", "--help"} & set(words):
        print(arguments.train_help(), end="")
        return 0
    asked = arguments.train_arguments(words)
    from app.runs import dump

    if asked.print_config:
        print(dump(asked.config.to_dict()), end="")
        return 0
    if asked.resume is not None:
        return _resume(asked.resume, verbosity)
    config = asked.config
    _say(f"epochal train: {config.model} on {config.dataset}, {config.epochs} epochs; loading TensorFlow ...")
    from app.data.ready import check_data

    config = check_data(config)
    if verbosity:
        _say(dump(config.to_dict()))
    _load_tensorflow(verbosity)
    from app.training import train

    if asked.dry_run:
        train.dry_run(config)
    else:
        _finish(train.train(config))
    return 0


def _resume(where: str, verbosity: int) -> int:
    from app import arguments, runs

    run = runs.find(where) if where else runs.newest()
    if run.finished:
        _say(f"{run.folder} has already finished; nothing to do")
        _finish(run)
        return 0
    with run.locked():
        config = arguments.read_config_file(run.folder / "config.yaml")
        _say(f"epochal train --resume {run.folder}: loading TensorFlow ...")
        _load_tensorflow(verbosity)
        from app.training import train

        train.resume(run, config)
    _finish(run)
    return 0


def _finish(run: Any) -> None:
    """The summary: figures on stdout, what to do next on stderr."""
    result = run.read_json("result.json")
    low, high = result["test_accuracy_low"], result["test_accuracy_high"]
    print(
        f"test accuracy {result['test_accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}, "
        f"{result['test_count']:,} images), test loss {result['test_loss']:.4f}, "
        f"best epoch {result['best_epoch']} of {result['epochs']}, {result['wall_seconds']:.1f} s"
    )
    _say(f"""
everything lies in {run.folder}/: report.html, result.json, history.csv, checkpoints/best/
next:
  epochal evaluate {run.folder}
  epochal predict {run.folder} IMAGE ...
  epochal export {run.folder}""")


def _evaluate(words: list[str], verbosity: int) -> int:
    parser = _Parser(prog="epochal evaluate", description="Compute the figures of a finished run again.")
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(words)
    from app import runs

    run = runs.find(asked.run)
    _say(f"epochal evaluate: {run.folder}; loading TensorFlow ...")
    _load_tensorflow(verbosity)
    from app.evaluation.again import evaluate_again

    figures = evaluate_again(run)
    print(json.dumps(figures) if asked.json else "\n".join(f"{key}: {value}" for key, value in figures.items()))
    return 0


def _predict(words: list[str], verbosity: int) -> int:
    parser = _Parser(prog="epochal predict", description="Labels and probabilities of image files.")
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG, GIF, BMP or WebP files")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, with all probabilities")
    asked = parser.parse_args(words)
    from app import runs

    run = runs.find(asked.run)
    _say(f"epochal predict: {run.folder}; loading TensorFlow ...")
    _load_tensorflow(verbosity)
    from app.evaluation.files import predict_files

    for prediction in predict_files(run, asked.images):
        print(prediction.json() if asked.json else prediction.line())
    return 0


def _export(words: list[str], verbosity: int) -> int:
    parser = _Parser(prog="epochal export", description="Write saved_models/NAME/VERSION/, proven equal to the run.")
    parser.add_argument("run", help="a run's folder, or its name under runs/")
    parser.add_argument("--name", help="of the served model (default: the run's name)")
    asked = parser.parse_args(words)
    from app import runs

    run = runs.find(asked.run)
    _say(f"epochal export: {run.folder}; loading TensorFlow ...")
    _load_tensorflow(verbosity)
    from app.export.export import export

    print(export(run, asked.name, _say))
    return 0


def _models(words: list[str], verbosity: int) -> int:
    from app import zoo_command

    parser = _Parser(prog="epochal models", description=zoo_command.HELP)
    zoo_command.add_options(parser)
    asked = parser.parse_args(words)
    zoo_command.check(asked)
    if zoo_command.needs_tensorflow(asked):
        _say("epochal models: loading TensorFlow ...")
        _load_tensorflow(verbosity)
    print(zoo_command.answer(asked, _say))
    return 0


def _lr_plan(words: list[str], verbosity: int) -> int:
    from app import lr_plan
    from app.arguments import split_arguments

    if {"-h", "--help"} & set(words):
        print(lr_plan.HELP, end="")
        return 0
    asked, config = split_arguments(lr_plan.options(_Parser(prog="epochal lr-plan", add_help=False)), words)
    _load_tensorflow(verbosity)
    print(lr_plan.answer(config, asked.plot, _say))
    return 0


def _lr_find(words: list[str], verbosity: int) -> int:
    from app import lr_find
    from app.arguments import split_arguments
    from app.data.ready import check_data

    if {"-h", "--help"} & set(words):
        print(lr_find.HELP, end="")
        return 0
    asked, config = split_arguments(lr_find.options(_Parser(prog="epochal lr-find", add_help=False)), words)
    config = check_data(config)
    _say(f"epochal lr-find: {config.model} on {config.dataset}; loading TensorFlow ...")
    _load_tensorflow(verbosity)
    print(lr_find.answer(config, asked.steps, asked.plot, _say))
    return 0


_COMMANDS = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "models": _models,
    "lr-plan": _lr_plan,
    "lr-find": _lr_find,
}


def _load_tensorflow(verbosity: int) -> None:
    from app.quiet import import_tensorflow

    import_tensorflow(verbose=verbosity > 1)


def _report(error: EpochalError) -> int:
    """One line on stderr, after the table of bad files where there is one."""
    if error.details:
        _say(error.details)
    _say(f"error: {_line(str(error))}")
    return error.exit_code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _line(text: str) -> str:
    return " ".join(text.split())
