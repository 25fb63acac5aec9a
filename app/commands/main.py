"""The command line: which command, and what its errors mean. No TensorFlow before the arguments are known good."""

import os
import sys
from importlib import import_module

from epochal.app.commands.console import say
from epochal.app.errors import EpochalError, StorageError, UsageError, suggestion
from epochal.app.process.log import show_messages
from epochal.app.process.signals import STOP
from epochal.app.store.files import remedy

_HELP = """\
usage: epochal COMMAND [options]

  epochal train                                            the embedded digits, in half a minute
  epochal train --dataset cifar10 --model resnet20 --epochs 2
  epochal train --dataset path/to/folder --image-size 64   one sub-folder a class

commands:
  train      train a classifier, evaluate it, report on it; --resume goes on where a run was stopped
  tune       search what a configuration leaves open, scored over validation splits; --resume goes on
  evaluate   the figures of a finished run, computed again
  predict    labels and probabilities for image files
  export     a SavedModel with preprocessing and labels inside, proven to answer like the run
  serve      answers for an exported model over HTTP, as TensorFlow Serving does; a page to try it with
  models     the zoo, and what its models and finished runs cost
  lr-plan    the learning rate of a configuration, epoch by epoch
  doctor     checks of data, model, loss and optimizer before a training, and what it will take
  lr-find    short trainings at a range of learning rates, and the one to begin with
  replay-nan the input, layer or gradient that first left the finite numbers in a run

options of every command:
  -h, --help      what it takes
  -v, -vv         say more: -v the resolved configuration of a training; -vv lets TensorFlow speak, too
  --debug         show the traceback of an error

exit codes:
  0 ok   1 a bug   2 usage or data   4 storage   5 training failed   6 run in use   130 Ctrl-C   143 SIGTERM
"""


# A module each, in app/commands/.
_COMMANDS = (
    *(
        "train",
        "tune",
        "evaluate",
        "predict",
        "export",
        "serve",
        "models",
        "lr-plan",
        "lr-find",
        "doctor",
    ),
    "replay-nan",
)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    words = [word for word in given if word not in ("-v", "-vv", "--debug")]
    debug = "--debug" in given
    verbosity = 2 if "-vv" in given else int("-v" in given)
    show_messages(verbosity)
    STOP.install()
    try:
        return _dispatch(words, verbosity)
    except KeyboardInterrupt:
        say("stopped")
        return STOP.exit_code or 130
    except EpochalError as error:
        if debug:
            raise
        return _report(error)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the reader has gone; nothing is wrong here
        return 0
    except OSError as error:
        if debug:
            raise
        place = error.filename or "a file"
        return _report(StorageError(f"{place}: {error.strerror or error}; {remedy(error)}"))
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
        raise UsageError(
            f"unknown command {words[0]}{suggestion(words[0], _COMMANDS)}; see epochal --help"
        )
    module = import_module(f"epochal.app.commands.{words[0].replace('-', '_')}")
    return int(module.run(words[1:], verbosity))


def _report(error: EpochalError) -> int:
    """One line on stderr, after the table of bad files where there is one."""
    if error.details:
        say(error.details)
    say(f"error: {_line(str(error))}")
    return error.exit_code


def _line(text: str) -> str:
    return " ".join(text.split())
