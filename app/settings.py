"""The groups of settings inside a configuration: frozen, keyword-only, checked when made."""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal


def check(condition: bool, key: str, expected: str, received: object) -> None:
    """Raises ValueError in one line when a setting is not as expected."""
    if not condition:
        raise ValueError(f"{key} must be {expected}, got {received!r}")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images; each is a pure function of (seed, epoch, position).

    Args:
        pad_crop: pad by this many pixels and crop back at a random place (null: an eighth of the side, up to 64 pixels)
        border: what those pixels show: reflect (the image mirrored) or black
        flip: mirror half of the images left to right (null: yes, except for digits)
        scale_crop: store images 8/7 larger, crop at random (256 to 224 style), centrally elsewhere (null: above 64 px)
    """

    pad_crop: int | None = None
    border: Literal["reflect", "black"] = "reflect"
    flip: bool | None = None
    scale_crop: bool | None = None

    def __post_init__(self) -> None:
        if self.pad_crop is not None:
            check(
                0 <= self.pad_crop <= 1024,
                "augment.pad_crop",
                "a number of pixels from 0 to 1024",
                self.pad_crop,
            )


_SHAPES = {  # what each shape of a schedule listens to
    "steps": ("milestones", "every", "factor", "unit", "warm_up"),
    "cosine": ("end", "unit", "warm_up"),
    "polynomial": ("end", "power", "unit", "warm_up"),
    "exponential": ("end", "unit", "warm_up"),
    "inverse": ("offset", "unit", "warm_up"),
    "one_cycle": (),
    "plateau": ("factor", "patience", "unit", "warm_up"),
    "stuck": ("factor", "patience", "window", "unit", "warm_up"),
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes; `epochal lr-plan` draws it.

    Args:
        shape: steps, cosine, polynomial, exponential, inverse (C / (C + t)), one_cycle (up over 30 % of all steps, then
            down to almost nothing), plateau (a drop when validation loss is stuck) or stuck (when training loss is)
        unit: what milestones, every, warm_up and offset count: epochs or steps (null: epochs)
        milestones: numbers of epochs, as [15, 22], after which the rate falls by factor (null: 1/2 and 3/4 of all)
        every: instead of milestones: every so many epochs
        factor: what a drop multiplies the rate by (null: 0.1)
        warm_up: the rate rises to its full height over so many epochs before the shape begins (null: 0)
        end: share of the rate left in the end (null: 0 for cosine and polynomial, 0.01 for exponential)
        power: of polynomial (null: 1, a line)
        offset: the C of inverse: after so many epochs the rate has halved (null: a tenth of all)
        patience: epochs of plateau (null: 5) or windows of stuck (null: 2) without progress before a drop
        window: steps in each mean loss that stuck compares (null: 500)
        batch: the global batch that learning_rate is meant for; it is multiplied by batch_size / batch (null: any)
    """

    shape: Literal["steps", "cosine", "polynomial", "exponential", "inverse", "one_cycle", "plateau", "stuck"] = "steps"
    unit: Literal["epochs", "steps"] | None = None
    milestones: list[int] | None = None
    every: int | None = None
    factor: float | None = None
    warm_up: float | None = None
    end: float | None = None
    power: float | None = None
    offset: float | None = None
    patience: int | None = None
    window: int | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        given = [key for key, value in asdict(self).items() if value is not None and key not in ("shape", "batch")]
        for key in given:
            fitting = [shape for shape, keys in _SHAPES.items() if key in keys]
            check(self.shape in fitting, f"schedule.shape with schedule.{key}", " or ".join(fitting), self.shape)
        milestones = self.milestones or []
        check(not milestones or self.every is None, "schedule", "milestones or every, not both", given)
        check(milestones == sorted(set(milestones)), "schedule.milestones", "in rising order", milestones)
        for key in ("every", "patience", "window", "batch"):
            value = getattr(self, key)
            check(value is None or value >= 1, f"schedule.{key}", "1 or more", value)
        for milestone in milestones:
            check(milestone >= 1, "schedule.milestones", "1 or more", milestones)
        check(self.factor is None or 0 < self.factor < 1, "schedule.factor", "above 0 and below 1", self.factor)
        check(self.end is None or 0 <= self.end < 1, "schedule.end", "from 0 to below 1", self.end)
        check(self.end != 0 or self.shape != "exponential", "schedule.end", "above 0 for exponential", self.end)
        for key in ("warm_up", "power", "offset"):
            value = getattr(self, key)
            check(value is None or (is_number(value, 0) and value > 0), f"schedule.{key}", "above 0", value)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What training minimises.

    Args:
        loss: cross_entropy, hinge (sum over the wrong classes), categorical_hinge (the worst of them) or squared_error
        label_smoothing: share of cross_entropy's target that is spread over all classes
        class_weights: balanced, or weights by class as '{"cat": 2}', others 1 (null: every image counts the same)
    """

    loss: Literal["cross_entropy", "hinge", "categorical_hinge", "squared_error"] = "cross_entropy"
    label_smoothing: float = 0.0
    class_weights: Literal["balanced"] | dict[str, float] | None = None

    def __post_init__(self) -> None:
        smoothing = self.label_smoothing
        check(0 <= smoothing < 1, "objective.label_smoothing", "from 0 to below 1", smoothing)
        check(not smoothing or self.loss == "cross_entropy", "objective.loss", "cross_entropy for smoothing", self.loss)
        weights = self.class_weights.values() if isinstance(self.class_weights, dict) else []
        for weight in weights:
            check(is_number(weight, 0), "objective.class_weights", "0 or more", weight)


@dataclass(frozen=True, kw_only=True)
class Optim:
    """What goes with the optimizer.

    Args:
        options: further arguments of the optimizer, as '{"momentum": 0.8}' (null: for sgd Nesterov momentum 0.9)
        weight_decay: pulls kernels, and nothing else, towards 0
        decay: coupled (weight_decay * w joins the gradient) or decoupled (w loses rate * weight_decay * w, as in AdamW)
        l1: l1 * sign(w) joins the gradient of kernels
        l1_proximal: instead, every update ends with a soft threshold of rate * l1, which makes weights exactly 0
        decays: a regular expression on paths such as stem_conv/kernel: the weights that decay (null: kernels)
        rates: factors on the rate by regular expression on paths, as '{"^stem": 0.1}'
        rate_growth: factor on the rate for each layer below the topmost one: below 1, lower layers learn slower
        micro_batches: each device takes its share of a batch in so many parts, one after the other, to save memory, and
            adds their gradients for the one update (batch norm sees the parts)
        clip_norm: largest global norm of the gradient (null: measured, not clipped)
        clip_variable: instead: largest norm of each variable's gradient
        clip_value: instead: largest absolute value in the gradient
        clip_percentile: instead: the global norm is clipped to this percentile of the latest 100 steps' norms
    """

    options: dict[str, Any] | None = None
    weight_decay: float = 1e-4
    decay: Literal["coupled", "decoupled"] = "coupled"
    l1: float = 0.0
    l1_proximal: bool = False
    decays: str | None = None
    rates: dict[str, float] | None = None
    rate_growth: float = 1.0
    micro_batches: int = 1
    clip_norm: float | None = None
    clip_variable: float | None = None
    clip_value: float | None = None
    clip_percentile: float | None = None

    def __post_init__(self) -> None:
        for key in ("weight_decay", "l1"):
            check(is_number(getattr(self, key), 0), f"optim.{key}", "0 or more", getattr(self, key))
        check(self.l1 > 0 or not self.l1_proximal, "optim.l1", "above 0 with l1_proximal", self.l1)
        check(1 <= self.micro_batches <= 64, "optim.micro_batches", "from 1 to 64", self.micro_batches)
        for pattern in [self.decays or "", *(self.rates or {})]:
            check(_is_pattern(pattern), "optim.decays and optim.rates", "regular expressions", pattern)
        for factor in [self.rate_growth, *(self.rates or {}).values()]:
            check(is_number(factor, 0), "optim.rates and rate_growth", "0 or more", factor)
        for key, limit in self.clipping.items():
            check(is_number(limit, 0) and limit > 0, f"optim.{key}", "above 0 or null", limit)
        check(len(self.clipping) <= 1, "optim.clip_*", "one kind of clipping at most", self.clipping)
        percentile = self.clip_percentile
        check(percentile is None or percentile <= 100, "optim.clip_percentile", "at most 100", percentile)

    @property
    def clipping(self) -> dict[str, float]:
        """The limits that were given: clip_norm, clip_variable, clip_value or clip_percentile, or none."""
        keys = ("clip_norm", "clip_variable", "clip_value", "clip_percentile")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """Early stopping; the best epoch's weights are kept in any case.

    Args:
        monitor: val_accuracy or val_loss
        patience: epochs without improvement after which training stops (null: never)
    """

    monitor: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    patience: int | None = None

    def __post_init__(self) -> None:
        check(self.patience is None or self.patience >= 1, "stopping.patience", "1 epoch or more", self.patience)


@dataclass(frozen=True, kw_only=True)
class Data:
    """How data is read.

    Args:
        cache_gib: splits whose images take at most this much memory (GiB) are kept there as uint8, larger ones stream
        validation: share of the training images that is held out where the data set has no validation split (null: 0.1,
            of a single split 0.2)
        skip_bad: train without unreadable images (they are recorded in the run) instead of stopping
    """

    cache_gib: float = 1.0
    validation: float | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        check(is_number(self.cache_gib, 0), "data.cache_gib", "0 or more", self.cache_gib)
        share = self.validation
        check(share is None or 0 < share <= 0.5, "data.validation", "above 0 and at most 0.5", share)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def is_number(value: float, least: float) -> bool:
    """Whether it is finite and not below `least`."""
    return math.isfinite(value) and value >= least
