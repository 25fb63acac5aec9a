"""The command line: a module for each command, an exit code for each kind of error.

No TensorFlow before the arguments are known good.
"""

import errno
import os
import sys
from importlib import import_module
from types import ModuleType

from epochal.app.characters import printable
from epochal.app.commands.console import say
from epochal.app.errors import EpochalError, StorageError, UsageError, suggestion
from epochal.app.process.log import show_messages
from epochal.app.process.signals import STOP
from epochal.app.process.standard_streams import prepare_streams
from epochal.app.store.files import remedy

_HELP = """\
usage: epochal COMMAND [options]

  epochal train                                            the embedded digits, in half a minute
  epochal train --dataset cifar10 --model resnet20 --epochs 2
  epochal train --dataset path/to/folder --image-size 64   one sub-folder a class

commands:
  train        train a classifier, evaluate it, report on it; --resume goes on with a stopped run
  finetune     the same from a network that was trained on ImageNet
  tune         search what a configuration leaves open, scored over splits; --resume goes on
  evaluate     the figures of finished runs, computed again, and of their average
  predict      labels and probabilities for image files
  export       a SavedModel with preprocessing and labels inside, proven to answer like the run
  serve        answers for an exported model over HTTP, as TensorFlow Serving does; a page to try it
  data check   what is wrong with a data set: copies across splits, bad files, likely wrong labels
  data preview training images before and after augmentation, on one sheet
  data prepare a data set decoded and scaled once, to train from without decoding
  data learning-curve
               what more images would bring, told by trainings on fewer
  models       the zoo, and what its models and finished runs cost
  lr-plan      the learning rate of a configuration, epoch by epoch
  doctor       checks of data, model, loss and optimizer before a training, and what it will take
  lr-find      short trainings at a range of learning rates, and the one to begin with
  replay-nan   the input, layer or gradient that first left the finite numbers in a run

options of every command:
  -h, --help      what it takes
  -v, -vv         say more: -v the resolved configuration; -vv lets TensorFlow speak, too
  --debug         show the traceback of an error

exit codes:
  0 ok   1 a bug   2 usage or data   4 storage   5 training failed   6 run in use
  130 Ctrl-C   143 SIGTERM
"""


# A module each in app/commands/; that of "data check" is data_check.
COMMANDS = (
    "train",
    "finetune",
    "tune",
    "evaluate",
    "predict",
    "export",
    "serve",
    "data check",
    "data preview",
    "data prepare",
    "data learning-curve",
    "models",
    "lr-plan",
    "lr-find",
    "doctor",
    "replay-nan",
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after `epochal`. None are those of this process, which then answers
            signals, too; a program that calls this keeps its own handlers.
    """
    if arguments is None:
        prepare_streams()
        STOP.install()
        arguments = sys.argv[1:]
    words = [word for word in arguments if word not in ("-v", "-vv", "--debug")]
    verbosity = 2 if "-vv" in arguments else int("-v" in arguments)
    show_messages(verbosity)
    try:
        _check_encoding(words)
        return _dispatch(words, verbosity)
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:
        # The reader has gone; nothing is wrong here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if "--debug" in arguments:
            raise
        is_expected = isinstance(error, EpochalError | OSError)
        if STOP.exit_code and not is_expected:
            # Native code raises an error of its own in place of the signal's KeyboardInterrupt.
            return _stopped()
        return _report(error)


def _stopped() -> int:
    say("stopped")
    return STOP.exit_code or 130


def _check_encoding(words: list[str]) -> None:
    """Refuse words that no file of a run could hold."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"argument '{printable(word)}' is not valid UTF-8; rename the file, or set the "
                "terminal to UTF-8"
            ) from error


def _dispatch(words: list[str], verbosity: int) -> int:
    command = words[0] if words else "help"
    if command in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0
    if command == "--version":
        from importlib.metadata import version

        print(f"epochal {version('epochal')}")
        return 0
    num_words = 1
    of_two_words = [known for known in COMMANDS if known.startswith(f"{command} ")]
    if of_two_words:
        num_words = 2
        command = " ".join(words[:2])
    if of_two_words and len(words) == 1:
        raise UsageError(
            f"epochal {command}: expected one of {', '.join(of_two_words)}; see epochal --help"
        )
    if command not in COMMANDS:
        hint = suggestion(command, COMMANDS)
        raise UsageError(f"unknown command {command}{hint}; see epochal --help")
    return int(module_of(command).run(words[num_words:], verbosity))


def module_of(command: str) -> ModuleType:
    """Return the module of a command, which has `make_parser` and `run`."""
    name = command.replace("-", "_").replace(" ", "_")
    return import_module(f"epochal.app.commands.{name}")


def _report(error: Exception) -> int:
    """Print one line on stderr, after the table of bad files where there is one."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        error = UsageError(f"{error.filename}: {error.strerror}; give a shorter path")
    elif isinstance(error, OSError):
        place = error.filename or "a file"
        error = StorageError(f"{place}: {error.strerror or error}; {remedy(error)}")
    if not isinstance(error, EpochalError):
        text = f"{type(error).__name__}: {_on_one_line(error)}"
        say(f"error: bug: {text}; run again with --debug and report it")
        return 1
    if error.details:
        say(error.details)
    say(f"error: {_on_one_line(error)}")
    return error.exit_code


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
