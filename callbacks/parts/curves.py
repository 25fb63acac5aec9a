"""What the curves of a training say: the course under the noise, drops of the rate, validation that rises."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_POINTS = 1000  # more are not told apart on a picture
_DROP = 0.8  # a rate that falls below this share from one line to the next may have been dropped
_AFTER = 5  # epochs after the lowest validation loss before it can be said to rise
_EVIDENCE = 1.96  # standard deviations of Mann and Kendall's statistic
_RISE = 0.02  # of the lowest loss: less is nothing to act on, however sure
_NOISE = 3.0  # standard deviations from epoch to epoch by which the rise exceeds them


def smoothed(values: Sequence[float], weight: float) -> np.ndarray:
    """Returns the exponential moving average of `values`, float64, each corrected for the few that came before.

    At t (from 1) it is the mean of x_1 ... x_t with weights `weight`^(t - i) (Kingma and Ba 2015, arXiv:1412.6980,
    section 3). A value that is not finite is passed over.
    """
    course = np.full(len(values), np.nan)
    mean = 0.0
    mass = 0.0
    for place, value in enumerate(values):
        if math.isfinite(value):
            mean = weight * mean + (1 - weight) * value
            mass = weight * mass + 1 - weight
        if mass:
            course[place] = mean / mass
    return course


def rate_drops(rates: Sequence[float]) -> list[int]:
    """Returns the places after which the rate drops at once: by a fifth at least, ten times as fast as around it.

    Rates that fall smoothly, as on a cosine, have none, not even where they reach zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        falls = np.nan_to_num(-np.diff(np.log(np.asarray(rates, np.float64))), posinf=0.0)
    around = np.abs(np.concatenate([[0.0], falls, [0.0]]))
    beside = np.maximum(around[:-2], around[2:])
    return [
        int(place) for place in np.flatnonzero((falls >= -math.log(_DROP)) & (10 * beside <= falls))
    ]


def rises_after(losses: Sequence[float]) -> int | None:
    """Returns the place of the lowest of `losses`, one an epoch, if they rise from there for good; else None.

    They do if those after it have a rising trend (Mann 1945 and Kendall, one-sided at 2.5 %), and the median of the
    last three lies above it by a fiftieth and by more than three times what neighbours differ by. Plateaus and single
    bad epochs do not.
    """
    values = np.asarray(losses, np.float64)
    if not np.isfinite(values).any():
        return None
    lowest = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
    after = values[lowest + 1 :]
    after = after[np.isfinite(after)]
    count = len(after)
    if count < _AFTER:
        return None
    score = sum(
        float(np.sign(after[place + 1 :] - value).sum()) for place, value in enumerate(after)
    )
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    differences = np.diff(after)
    noise = 1.4826 * float(np.median(np.abs(differences - np.median(differences)))) / math.sqrt(2)
    rise = float(np.median(after[-3:])) - values[lowest]
    clear = rise > max(_NOISE * noise, _RISE * abs(values[lowest]))
    return lowest if clear and (score - 1) / deviation >= _EVIDENCE else None


def curves_of(log: Path, weight: float | None) -> dict[str, Any]:
    """Returns what there is to draw of a log by `TrainingLog` (JSON lines), as plain values; losses as logged.

    `iterations`, `raw` and `smoothed` are at most a thousand points; `validation` has `iterations` and `losses`, one an
    epoch; `drops` are the iterations after which the rate dropped: where an epoch ended between two lines, or else the
    earlier line's; `rises` is None, or the `epoch` and `iteration` of the validation loss that was the lowest before it
    rose.
    """
    lines = _lines(log) if log.exists() else []
    steps = [line for line in lines if "loss" in line]
    checks = [line for line in lines if "val_loss" in line]
    lowest = rises_after([line["val_loss"] for line in checks])
    weight = 1 - 1 / max(2.5, len(steps) / 50) if weight is None else weight
    course = smoothed([line["loss"] for line in steps], weight)
    each = max(1, math.ceil(len(steps) / _POINTS))
    shown = slice(len(steps) - 1 - (len(steps) - 1) // each * each if steps else 0, None, each)
    places = rate_drops([line["learning_rate"] for line in steps])
    ends = [line["iteration"] for line in checks]
    return {
        "iterations": [line["iteration"] for line in steps[shown]],
        "raw": [line["loss"] for line in steps[shown]],
        "smoothed": [round(float(value), 6) for value in course[shown]],
        "validation": {"iterations": ends, "losses": [line["val_loss"] for line in checks]},
        "drops": [
            _dropped(steps[place]["iteration"], steps[place + 1]["iteration"], ends)
            for place in places
        ],
        "rises": None
        if lowest is None
        else {key: checks[lowest][key] for key in ("epoch", "iteration")},
    }


def _dropped(before: int, after: int, ends: Sequence[int]) -> int:
    return max((end for end in ends if before <= end < after), default=before)


def _lines(log: Path) -> list[dict[str, Any]]:
    """What the log's lines hold, with NaN for null: what JSON has no word for."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [
        {key: math.nan if value is None else value for key, value in line.items()} for line in lines
    ]
