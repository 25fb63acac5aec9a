"""Expected failures, each with the exit code of the command line."""

from collections.abc import Sequence
from difflib import get_close_matches


class EpochalError(Exception):
    """An expected failure: `str(error)` is one line that says what, where and how to fix it.

    `details` are lines to show before that one, such as a table of files.
    """

    exit_code = 1
    details = ""


class UsageError(EpochalError):
    """The command line, the configuration or the data are not usable."""

    exit_code = 2


class StorageError(EpochalError):
    """A file could not be written or read back whole."""

    exit_code = 4


class TrainingFailed(EpochalError):
    """Training produced no usable model, for instance because the loss became NaN."""

    exit_code = 5


class RunInUse(EpochalError):
    """Another process holds the lock of a run, or of a folder of exports."""

    exit_code = 6


def suggestion(word: str, known: Sequence[str], prefix: str = "") -> str:
    """Return ` (did you mean X?)` where something similar is known, else nothing."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:
        return ""
    return f" (did you mean {prefix}{close[0]}?)"
