"""The console: a parser with errors of one line, words for the user, TensorFlow when needed."""

import re
import shutil
import sys
import time
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from functools import partial
from typing import Any, NoReturn

from epochal.app.errors import UsageError, suggestion

BEGAN = time.monotonic()  # of the program, as far as it can be known
_FLAG_COLUMNS = 28
_LINE_COLUMNS = 120


class Parser(ArgumentParser):
    """Argparse's, whose errors are one line with exit code 2; underscores in flags are dashes.

    Args:
        prog: `epochal COMMAND`.
        description: shown by --help as it is written.
        foreign: flags of another command, each with what to do about it.
    """

    def __init__(self, prog: str, description: str, foreign: dict[str, str] | None = None) -> None:
        width = min(shutil.get_terminal_size().columns, _LINE_COLUMNS)
        formatter: Any = partial(
            RawDescriptionHelpFormatter, max_help_position=_FLAG_COLUMNS, width=width
        )
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=formatter,
        )
        self._foreign = foreign or {}

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words into options.

        Raises:
            UsageError: for a flag that is unknown, with a suggestion, or given twice.
        """
        words = _join_negative([_with_dashes(word) for word in args or []])
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        options = []
        for flag in flags:
            self._check_flag(flag)
            # The same option may have two flags.
            option = self._option_string_actions.get(flag, flag)
            if option in options:
                self.error(f"{flag} is given twice; give it once")
            options.append(option)
        return super().parse_args(words, namespace)

    def _check_flag(self, flag: str) -> None:
        known = self._option_string_actions
        if flag in known or flag == "--":
            return
        if flag in self._foreign:
            raise UsageError(f"{flag} {self._foreign[flag]}")
        self.error(f"unknown option {flag}{suggestion(flag, list(known))}")

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with what is wrong with the options."""
        raise UsageError(f"{message}; see {self.prog} --help")


def _with_dashes(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _join_negative(words: list[str]) -> list[str]:
    """Join a flag and its negative number, which argparse would take for a flag: -1e-3."""
    joined: list[str] = []
    for word in words:
        if re.match(r"-\.?\d", word) and joined and joined[-1].startswith("--"):
            joined[-1] = f"{joined[-1]}={word}"
        else:
            joined.append(word)
    return joined


def whole_number(text: str, least: int, expected: str) -> int:
    """Return the number that an option's value is.

    Args:
        least: the smallest number that will do.
        expected: in words, for the error.

    Raises:
        ArgumentTypeError: it is none, or smaller.
    """
    # In ASCII: `str.isdigit` holds for ², which `int` does not take.
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < least:
        raise ArgumentTypeError(f"expected {expected}, got {text}")
    return int(text)


def load_tensorflow(verbosity: int) -> None:
    """Import TensorFlow, quietly unless verbosity is 2."""
    from epochal.app.process.tensorflow_import import import_tensorflow

    import_tensorflow(verbose=verbosity > 1)


def say(line: str) -> None:
    """Tell the user, on stderr: results alone go to stdout."""
    print(line, file=sys.stderr, flush=True)


__all__ = ["BEGAN", "Namespace", "Parser", "load_tensorflow", "say", "whole_number"]
