"""Uses of the test split: what is chosen by it is no longer judged by it."""

import logging

from epochal.app.errors import StorageError
from epochal.app.store.run import Run

_LOG = logging.getLogger(__name__)


def count_test_use(run: Run) -> int | None:
    """Count one more evaluation of the run's test split; return how many there were.

    The figures are worth more than the count: where it cannot be kept, as in a folder that is only
    read, a warning says so, and None is returned.
    """
    try:
        return run.count_test_use()
    except StorageError as error:
        _LOG.warning(f"this use of the test split is not counted: {error}")
        return None
