"""What every command needs: a parser that tells errors our way, words for the user, TensorFlow when it is time."""

import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any, NoReturn

from epochal.app.errors import UsageError

BEGAN = time.monotonic()  # of the program, as far as it can be known


class Parser(ArgumentParser):
    """Argparse's, whose errors are one line with exit code 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=RawDescriptionHelpFormatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Argparse's, which would take the last of an option that is given twice."""
        given = [word.partition("=")[0] for word in args or []]
        for option in self._option_string_actions:
            if given.count(option) > 1:
                self.error(f"{option} is given twice; give it once")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises what was wrong with the options."""
        raise UsageError(f"{message}; see {self.prog} --help")


def load_tensorflow(verbosity: int) -> None:
    """Imports it, quietly unless verbosity is 2."""
    from epochal.app.process.tensorflow_import import import_tensorflow

    import_tensorflow(verbose=verbosity > 1)


def say(line: str) -> None:
    """Tells the user, on stderr: results alone go to stdout."""
    print(line, file=sys.stderr, flush=True)
