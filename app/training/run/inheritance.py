"""Inheritance: the settings that a run takes over from the finished run that it starts from."""

from typing import Any

from epochal.app.config import SETTINGS, Config, get_setting
from epochal.app.config.optimizers import usual_rate
from epochal.app.store import runs

SHARE_OF_PEAK = 0.1


def inherited_settings(config: Config) -> dict[str, Any]:
    """Return what a run has from its source unless it is given, by dotted key.

    Its learning rate follows from the source's (see `rate_to_go_on_at`), or with another optimizer
    is a tenth of the usual one.

    Args:
        config: of the run, which names its source in `init_from`.

    Raises:
        UsageError: when there is no such run, or it has not finished.
        StorageError: when its files are damaged.
    """
    source = runs.find(config.init_from or "")
    source.check_finished()
    source_config = source.config()
    values = {}
    for key, setting in SETTINGS.items():
        if setting.traits.inherited:
            values[key] = get_setting(source_config, key)
    # The size that was trained at, also where it was the data set's own.
    values["image_size"] = source.data_card().image_size
    if config.optimizer == source_config.optimizer:
        rate = rate_to_go_on_at(source_config.peak_rate, source.last_rate())
        batch = config.batch_size or source_config.global_batch
        rate *= (config.schedule.batch or batch) / batch
    else:
        rate = SHARE_OF_PEAK * usual_rate(config.optimizer)
    values["learning_rate"] = float(f"{rate:.7g}")
    return values


def rate_to_go_on_at(peak_rate: float, last_rate: float) -> float:
    """Return the rate for weights that were trained at up to `peak_rate`, in the end `last_rate`.

    It is a tenth of the highest, or the last one where training ended higher: the end of a cosine
    or one-cycle course moves nothing any more, and the full rate spoils what was learned.
    """
    return max(last_rate, SHARE_OF_PEAK * peak_rate)
