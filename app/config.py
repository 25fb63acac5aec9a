"""The configuration of a run: frozen, keyword-only, checked when made. It is the experiment: its text reruns it."""

import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


def _check(condition: bool, key: str, expected: str, received: object) -> None:
    if not condition:
        raise ValueError(f"{key} must be {expected}, got {received!r}")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images; each is a pure function of (seed, epoch, position).

    Args:
        pad_crop: pad by this many pixels and crop back at a random place (null: an eighth of the side, up to 64 pixels)
        flip: mirror half of the images left to right (null: yes, except for digits)
        scale_crop: store images 8/7 larger, crop at random (256 to 224 style), centrally elsewhere (null: above 64 px)
    """

    pad_crop: int | None = None
    flip: bool | None = None
    scale_crop: bool | None = None

    def __post_init__(self) -> None:
        if self.pad_crop is not None:
            _check(
                0 <= self.pad_crop <= 1024,
                "augment.pad_crop",
                "a number of pixels from 0 to 1024",
                self.pad_crop,
            )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes, in epochs.

    Args:
        shape: steps, or one_cycle: up to learning_rate over the first 30 % of all steps, then down to almost nothing
        milestones: numbers of epochs, as [15, 22], after which the rate falls by factor (null: 1/2 and 3/4 of all)
        every: instead of milestones: every so many epochs
        factor: what the rate is multiplied by
    """

    shape: Literal["steps", "one_cycle"] = "steps"
    milestones: list[int] | None = None
    every: int | None = None
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check(self.milestones is None or self.every is None, "schedule", "milestones or every, not both", self)
        stepped = self.milestones is not None or self.every is not None
        _check(self.shape == "steps" or not stepped, "schedule", "one_cycle without milestones and every", self)
        for milestone in self.milestones or []:
            _check(milestone >= 1, "schedule.milestones", "epochs of 1 or more", self.milestones)
        _check(self.every is None or self.every >= 1, "schedule.every", "1 epoch or more", self.every)
        _check(0 < self.factor <= 1, "schedule.factor", "above 0 and at most 1", self.factor)


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
    clip_norm: float | None = None
    clip_variable: float | None = None
    clip_value: float | None = None
    clip_percentile: float | None = None

    def __post_init__(self) -> None:
        for key in ("weight_decay", "l1"):
            _check(_is_number(getattr(self, key), 0), f"optim.{key}", "0 or more", getattr(self, key))
        _check(self.l1 > 0 or not self.l1_proximal, "optim.l1", "above 0 with l1_proximal", self.l1)
        for pattern in [self.decays or "", *(self.rates or {})]:
            _check(_is_pattern(pattern), "optim.decays and optim.rates", "regular expressions", pattern)
        for factor in [self.rate_growth, *(self.rates or {}).values()]:
            _check(_is_number(factor, 0), "optim.rates and rate_growth", "0 or more", factor)
        for key, limit in self.clipping.items():
            _check(_is_number(limit, 0) and limit > 0, f"optim.{key}", "above 0 or null", limit)
        _check(len(self.clipping) <= 1, "optim.clip_*", "one kind of clipping at most", self.clipping)
        percentile = self.clip_percentile
        _check(percentile is None or percentile <= 100, "optim.clip_percentile", "at most 100", percentile)

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
        _check(self.patience is None or self.patience >= 1, "stopping.patience", "1 epoch or more", self.patience)


@dataclass(frozen=True, kw_only=True)
class Data:
    """How data is read.

    Args:
        cache_gib: splits whose images take at most this much memory (GiB) are kept there as uint8, larger ones stream
        skip_bad: train without unreadable images (they are recorded in the run) instead of stopping
    """

    cache_gib: float = 1.0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        _check(_is_number(self.cache_gib, 0), "data.cache_gib", "0 or more", self.cache_gib)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides what a run computes.

    Args:
        dataset: digits, a TFDS name (mnist, cifar10, ...) or a folder with one sub-folder a class
        data_dir: where prepared TFDS data lies (null: $TFDS_DATA_DIR, else ~/tensorflow_datasets)
        model: a name that `epochal models` lists
        norm: batch, layer, weight, normprop or none (null: the model's own)
        activation: relu, prelu, leaky_relu, scaled_tanh, maxout or the name of a Keras one (null: the model's own)
        weights: a weights file of keras.applications to start from, for the models that come from there
        epochs: passes over the training images
        batch_size: images in a global batch, over all devices
        learning_rate: the rate before any step of the schedule
        optimizer: sgd, adam, adagrad, rmsprop, adaptivegain or the name of another Keras optimizer
        seed: decides weights, order, augmentation and splits
        image_size: side of the square images in pixels (null: the data set's own)
        devices: replicas under MirroredStrategy; without GPUs these are logical CPU devices
        precision: float32, mixed_bfloat16 or mixed_float16
        name: the run's folder is runs/NAME, or NAME-2, ... where that exists (null: DATASET-MODEL)
        checkpoint_seconds: at most so many seconds of work are lost when the process is killed
        deterministic: bit-identical reruns and resumes (null: on CPUs yes, on GPUs no)
    """

    dataset: str = "digits"
    data_dir: str | None = None
    model: str = "resnet20"
    norm: str | None = None
    activation: str | None = None
    weights: str | None = None
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.1
    optimizer: str = "sgd"
    seed: int = 0
    image_size: int | None = None
    devices: int = 1
    precision: Precision = "float32"
    name: str | None = None
    checkpoint_seconds: float = 60.0
    deterministic: bool | None = None
    augment: Augment = field(default_factory=Augment)
    schedule: Schedule = field(default_factory=Schedule)
    optim: Optim = field(default_factory=Optim)
    stopping: Stopping = field(default_factory=Stopping)
    data: Data = field(default_factory=Data)

    def __post_init__(self) -> None:
        _check(bool(self.dataset.strip()), "dataset", "a name or a folder", self.dataset)
        _check(1 <= self.epochs <= 100_000, "epochs", "from 1 to 100000", self.epochs)
        _check(1 <= self.batch_size <= 1_000_000, "batch_size", "from 1 to 1000000", self.batch_size)
        _check(
            _is_number(self.learning_rate, 0) and self.learning_rate > 0,
            "learning_rate",
            "above 0",
            self.learning_rate,
        )
        _check(0 <= self.seed < 2**31, "seed", "from 0 to 2147483647", self.seed)
        size = self.image_size
        _check(size is None or 8 <= size <= 4096, "image_size", "from 8 to 4096 pixels", size)
        _check(1 <= self.devices <= 64, "devices", "from 1 to 64", self.devices)
        _check(
            self.batch_size % self.devices == 0,
            "batch_size",
            f"a multiple of the {self.devices} devices",
            self.batch_size,
        )
        _check(
            self.name is None or is_name(self.name),
            "name",
            "letters, digits, '.', '_' or '-' (at most 64)",
            self.name,
        )
        _check(_is_number(self.checkpoint_seconds, 0), "checkpoint_seconds", "0 or more", self.checkpoint_seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, nested as in the configuration file."""
        return asdict(self)

    @property
    def model_options(self) -> dict[str, str]:
        """What the model is to have instead of its own."""
        chosen = {"norm": self.norm, "activation": self.activation}
        return {key: value for key, value in chosen.items() if value is not None}

    @property
    def milestones(self) -> list[int]:
        """Epochs at which the rate drops when `schedule.every` is not given."""
        if self.schedule.milestones is not None:
            return self.schedule.milestones
        return sorted({milestone for milestone in (self.epochs // 2, self.epochs * 3 // 4) if milestone})


def is_name(text: str) -> bool:
    """Whether `text` may name a run or an export: it becomes a folder."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text) is not None


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _is_number(value: float, least: float) -> bool:
    return math.isfinite(value) and value >= least
