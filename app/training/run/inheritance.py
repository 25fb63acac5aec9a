"""Inheritance: the settings that a run takes over from the finished run that it starts from."""

from typing import Any

from epochal.app.config import SETTINGS, get_setting
from epochal.app.store import run as runs


def inherited_settings(where: str) -> dict[str, Any]:
    """Return what a run has from its source unless it is given, by dotted key.

    Args:
        where: the source's folder, or its name under runs/.

    Raises:
        UsageError: when there is no such run, or it has not finished.
        StorageError: when its files are damaged.
    """
    source = runs.find(where)
    source.check_finished()
    config = source.config()
    values = {}
    for key, setting in SETTINGS.items():
        if setting.traits.inherited:
            values[key] = get_setting(config, key)
    # The size that was trained at, also where it was the data set's own, and the rate that
    # training ended with.
    values["image_size"] = source.data_card().image_size
    values["learning_rate"] = source.last_rate()
    return values
