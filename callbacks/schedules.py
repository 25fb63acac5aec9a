"""Shapes of the learning rate: pure functions of the step, relative to a rate, for `RateSchedule`.

Steps count from 0. A shape over so many `steps` keeps its last value afterwards.
"""

import math
from collections.abc import Callable, Sequence

Shape = Callable[[int], float]


def stepped(step: int, milestones: Sequence[int], factor: float = 0.1) -> float:
    """Return `factor` to the power of the number of milestones at or before the step.

    He et al. 2016 (arXiv:1512.03385, section 4.2).
    """
    return factor ** sum(milestone <= step for milestone in milestones)


def inverse(step: int, offset: float) -> float:
    """Return `C / (C + t)` with C the offset: half the rate after C steps.

    Robbins and Monro 1951; LeCun et al. 1998 (Efficient BackProp, section 4.7).
    """
    return offset / (offset + step)


def exponential(step: int, steps: int, end: float = 0.01) -> float:
    """Return what falls by the same factor at every step, down to `end` after all of them."""
    return end ** min(1.0, step / steps)


def polynomial(step: int, steps: int, *, power: float = 1.0, end: float = 0.0) -> float:
    """Return `end + (1 - end) (1 - t / T)^power`: linear at power 1."""
    return end + (1 - end) * (1 - min(1.0, step / steps)) ** power


def cosine(step: int, steps: int, end: float = 0.0) -> float:
    """Return half a cosine from 1 down to `end`.

    Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
    """
    return end + (1 - end) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2


def one_cycle(
    step: int, steps: int, *, warm_up: float = 0.3, start: float = 1 / 25, end: float = 1 / 250_000
) -> float:
    """Return half a cosine up from `start` to 1, then half a cosine down to `end`.

    The share `warm_up` of the steps goes up. Smith and Topin 2018 (arXiv:1708.07120), with cosines:
    few epochs then reach what steps need many for. The last step has `end`.
    """
    turn = warm_up * steps - 1
    last = steps - 1
    if step >= last:
        return end
    if step <= turn:
        low = start
        share = 0.0
        if turn > 0:
            share = 1 - step / turn
    else:
        low = end
        share = (step - turn) / (last - turn)
    cosine = math.cos(math.pi * share)
    return low + (1 - low) * (1 + cosine) / 2


def warmed(step: int, warm_up: int, shape: Shape) -> float:
    """Return a line up to where `shape` begins, over `warm_up` steps, and then `shape`.

    Goyal et al. 2017 (arXiv:1706.02677, section 2.2): large batches do not bear their rate at once.
    """
    if step < warm_up:
        return shape(0) * (step + 1) / warm_up
    return shape(step - warm_up)
