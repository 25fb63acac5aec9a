"""Losses of a training as logged: moving averages, drops of the rate, validation that rises."""

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
    """Return the exponential moving average of `values`, float64, without bias to zero.

    At t (from 1) it is the mean of x_1 ... x_t with weights `weight`^(t - i) (Kingma and Ba 2015,
    arXiv:1412.6980, section 3). A value that is not finite is passed over.
    """
    averages = np.full(len(values), np.nan)
    mean = 0.0
    mass = 0.0
    for place, value in enumerate(values):
        if math.isfinite(value):
            mean = weight * mean + (1 - weight) * value
            mass = weight * mass + 1 - weight
        if mass:
            averages[place] = mean / mass
    return averages


def rate_drops(rates: Sequence[float]) -> list[int]:
    """Return the places after which the rate drops at once.

    It does where it falls by a fifth at least, and ten times as fast as around there.

    Rates that fall smoothly, as on a cosine, have none, not even where they reach zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(np.asarray(rates, np.float64))
        falls = -np.diff(logarithms)
    falls = np.nan_to_num(falls, posinf=0.0)
    changes = np.abs(np.pad(falls, 1))
    before = changes[:-2]
    after = changes[2:]
    is_large = falls >= -math.log(_DROP)
    is_sudden = falls >= 10 * np.maximum(before, after)
    places = np.flatnonzero(is_large & is_sudden)
    return places.tolist()


def rises_after(losses: Sequence[float]) -> int | None:
    """Return the place of the lowest of `losses` if they rise from there for good, else None.

    They do if those after it have a rising trend (Mann 1945 and Kendall, one-sided at 2.5 %), and
    the median of the last three lies above it by a fiftieth and by more than three times what
    neighbours differ by. Plateaus and single bad epochs do not.
    """
    values = np.asarray(losses, np.float64)
    is_finite = np.isfinite(values)
    if not is_finite.any():
        return None
    finite_or_inf = np.where(is_finite, values, np.inf)
    place = int(np.argmin(finite_or_inf))
    lowest = values[place]
    after = values[place + 1 :]
    after = after[np.isfinite(after)]
    if len(after) < _AFTER:
        return None
    differences = np.diff(after)
    deviations = np.abs(differences - np.median(differences))
    noise = 1.4826 * float(np.median(deviations)) / math.sqrt(2)
    level = float(np.median(after[-3:]))
    least = max(_NOISE * noise, _RISE * abs(lowest))
    if level - lowest <= least or _trend(after) < _EVIDENCE:
        return None
    return place


def _trend(values: np.ndarray) -> float:
    """Return Mann and Kendall's statistic for a rising trend, in standard deviations."""
    count = len(values)
    score = 0.0
    for place, value in enumerate(values):
        later = values[place + 1 :]
        rises = np.sign(later - value)
        score += float(rises.sum())
    variance = count * (count - 1) * (2 * count + 5) / 18
    return (score - 1) / math.sqrt(variance)


def read_curves(log: Path, weight: float | None) -> dict[str, Any]:
    """Return what there is to draw of the JSON lines of a `TrainingLog`, as plain values.

    `iterations`, `raw` and `smoothed` are at most a thousand points; `validation` has `iterations`
    and `losses`, one an epoch; `drops` are the iterations after which the rate dropped: where an
    epoch ended between two lines, or else the earlier line's; `rises` is None, or the `epoch` and
    `iteration` of the validation loss that was the lowest before it rose.
    """
    lines = _read_lines(log)
    losses = []
    iterations = []
    rates = []
    for line in lines:
        if "loss" in line:
            losses.append(line["loss"])
            iterations.append(line["iteration"])
            rates.append(line["learning_rate"])
    epochs = [line for line in lines if "val_loss" in line]
    epoch_losses = [line["val_loss"] for line in epochs]
    epoch_ends = [line["iteration"] for line in epochs]
    if weight is None:
        weight = 1 - 1 / max(2.5, len(losses) / 50)
    averages = [round(float(average), 6) for average in smoothed(losses, weight)]
    drops = []
    for place in rate_drops(rates):
        before = iterations[place]
        after = iterations[place + 1]
        ends = [end for end in epoch_ends if before <= end < after]
        drops.append(max(ends, default=before))
    lowest = rises_after(epoch_losses)
    rises = None
    if lowest is not None:
        rises = {"epoch": epochs[lowest]["epoch"], "iteration": epoch_ends[lowest]}
    shown = _thinned(len(losses))
    return {
        "iterations": iterations[shown],
        "raw": losses[shown],
        "smoothed": averages[shown],
        "validation": {"iterations": epoch_ends, "losses": epoch_losses},
        "drops": drops,
        "rises": rises,
    }


def _thinned(count: int) -> slice:
    """Return which of `count` points to draw: at equal distances, the last among them."""
    distance = max(1, math.ceil(count / _POINTS))
    first = max(0, count - 1) % distance
    return slice(first, None, distance)


def _read_lines(log: Path) -> list[dict[str, Any]]:
    """Return what the log's lines hold, with NaN for null: what JSON has no word for."""
    lines: list[dict[str, Any]] = []
    if not log.exists():
        return lines
    for text in log.read_text().splitlines():
        line = json.loads(text)
        for key, value in line.items():
            if value is None:
                line[key] = math.nan
        lines.append(line)
    return lines
