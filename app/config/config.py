"""The configuration of a run: frozen, keyword-only, checked when made. It is the experiment: its text reruns it."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from epochal.app.config.checks import check, duration, is_number
from epochal.app.config.data import Augment, Data
from epochal.app.config.emphasis import Emphasis
from epochal.app.config.optim import Objective, Optim
from epochal.app.config.schedule import Schedule, Stopping
from epochal.app.units import number_of

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides what a run computes.

    Args:
        dataset: digits, a TFDS name (mnist, cifar10, ...) or a folder with one sub-folder a class
        data_dir: where prepared TFDS data lies (null: $TFDS_DATA_DIR, else ~/tensorflow_datasets)
        model: a name that `epochal models` lists
        norm: batch, layer, weight, weight_mean, normprop or none (null: the model's own)
        activation: relu, prelu, leaky_relu, scaled_tanh, maxout or the name of a Keras one (null: the model's own)
        weights: a weights file of keras.applications to start from, for the models that come from there
        init_from: a finished run, by its folder or its name under runs/, from whose weights to start (and nothing else:
            --resume restores everything); unless given, dataset, data_dir, model, norm, activation and image_size are
            that run's, and learning_rate is its last one
        epochs: passes over the training images
        budget: time for the whole command, as 90s, 10m or 1h30m; instead of ending after epochs, which only tell the
            schedule's proportions then (null: none)
        pilot_above: a run that takes longer than this, as 4h, is refused until a pilot of it (--pilot) has learned
            something (null: never)
        batch_size: images in a global batch, over all devices
        learning_rate: the rate before any step of the schedule (with init_from, unless given: the last one of that run)
        optimizer: sgd, adam, adagrad, rmsprop, adaptivegain, globalgain, diagonalnewton or the name of another in
            Keras
        seed: decides weights, order, augmentation and splits
        image_size: side of the square images in pixels (null: the data set's own)
        devices: replicas under MirroredStrategy; without GPUs these are logical CPU devices
        precision: float32, mixed_bfloat16 or mixed_float16
        name: the run's folder is runs/NAME, or NAME-2, ... where that exists (null: DATASET-MODEL)
        checkpoint_seconds: at most so many seconds of work are lost when the process is killed (and at most a
            twentieth of a budget)
        nan_policy: stop at the first number that is not finite, or rollback: go on from the last checkpoint with a
            tenth of the rate, at most 3 times
        deterministic: bit-identical reruns and resumes (null: on CPUs yes, on GPUs no)
    """

    dataset: str = "digits"
    data_dir: str | None = None
    model: str = "resnet20"
    norm: str | None = None
    activation: str | None = None
    weights: str | None = None
    init_from: str | None = None
    epochs: int = 30
    budget: str | None = None
    pilot_above: str | None = None
    batch_size: int = 64
    learning_rate: float = 0.1
    optimizer: str = "sgd"
    seed: int = 0
    image_size: int | None = None
    devices: int = 1
    precision: Precision = "float32"
    name: str | None = None
    checkpoint_seconds: float = 60.0
    nan_policy: Literal["stop", "rollback"] = "stop"
    deterministic: bool | None = None
    augment: Augment = field(default_factory=Augment)
    objective: Objective = field(default_factory=Objective)
    schedule: Schedule = field(default_factory=Schedule)
    optim: Optim = field(default_factory=Optim)
    stopping: Stopping = field(default_factory=Stopping)
    data: Data = field(default_factory=Data)
    emphasis: Emphasis = field(default_factory=Emphasis)

    def __post_init__(self) -> None:
        check(bool(self.dataset.strip()), "dataset", "a name or a folder", self.dataset)
        check(
            self.init_from is None or self.weights is None,
            "init_from",
            "null with weights",
            self.init_from,
        )
        alone = self.init_from is None or self.pilot_above is None
        check(
            alone,
            "pilot_above",
            "null with init_from, of which a smaller network takes no weights",
            self.pilot_above,
        )
        check(1 <= self.epochs <= 100_000, "epochs", "from 1 to 100000", self.epochs)
        for key, time in (("budget", self.budget), ("pilot_above", self.pilot_above)):
            check(
                time is None or bool(duration(time)),
                key,
                "a duration such as 90s, 10m or 1h30m",
                time,
            )
        check(1 <= self.batch_size <= 1_000_000, "batch_size", "from 1 to 1000000", self.batch_size)
        check(
            is_number(self.learning_rate, 0) and self.learning_rate > 0,
            "learning_rate",
            "above 0",
            self.learning_rate,
        )
        check(0 <= self.seed < 2**31, "seed", "from 0 to 2147483647", self.seed)
        size = self.image_size
        check(size is None or 8 <= size <= 4096, "image_size", "from 8 to 4096 pixels", size)
        check(1 <= self.devices <= 64, "devices", "from 1 to 64", self.devices)
        check(
            self.name is None or is_name(self.name),
            "name",
            "letters, digits, '.', '_' or '-' (at most 64)",
            self.name,
        )
        check(
            is_number(self.checkpoint_seconds, 0),
            "checkpoint_seconds",
            "0 or more",
            self.checkpoint_seconds,
        )
        self._check_together()

    def _check_together(self) -> None:
        """Settings that must suit one another."""
        check(
            self.batch_size % self.devices == 0,
            "batch_size",
            f"a multiple of the {self.devices} devices",
            self.batch_size,
        )
        check(
            self.optim.micro_batches <= self.batch_size // self.devices,
            "optim.micro_batches",
            f"at most the {self.batch_size // self.devices} images that a device gets of a batch",
            self.optim.micro_batches,
        )
        self._check_course()
        after = self.stopping.after
        patience = self.stopping.patience
        epochs = number_of(self.epochs, "epoch")
        check(
            after is None or after <= self.epochs, "stopping.after", f"at most the {epochs}", after
        )
        check(after is None or self.budget is None, "stopping.after", "null with a budget", after)
        check(
            patience is None or self.data.split != "all",
            "stopping.patience",
            "null with data.split all",
            patience,
        )
        emphasis = self.emphasis
        order = self.data.order
        early = emphasis.by is None or emphasis.start < self.epochs
        check(early, "emphasis.start", f"below the {epochs}", emphasis.start)
        check(
            emphasis.by != "sampler" or order == "shuffled",
            "data.order",
            "shuffled with emphasis.by sampler",
            order,
        )

    def _check_course(self) -> None:
        """What is to happen within the epochs, and to the rate."""
        schedule = self.schedule
        in_steps = self.schedule.unit == "steps"
        epochs = number_of(self.epochs, "epoch")
        places = {
            "milestones": max(schedule.milestones or [0]),
            "every": schedule.every,
            "warm_up": schedule.warm_up,
        }
        for key, place in places.items():
            check(
                in_steps or (place or 0) < self.epochs,
                f"schedule.{key}",
                f"below the {epochs}",
                place,
            )
        least = schedule.least
        peak = self.peak_rate
        thaws = self.optim.unfreeze_every
        check(
            least is None or least < peak,
            "schedule.least",
            f"below the learning rate {peak:g}",
            least,
        )
        fitting = thaws is None or thaws < self.epochs or self.budget is not None
        check(fitting, "optim.unfreeze_every", f"below the {epochs}", thaws)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, nested as in the configuration file."""
        return asdict(self)

    @property
    def model_options(self) -> dict[str, str]:
        """What the model is to have instead of its own."""
        chosen = {"norm": self.norm, "activation": self.activation}
        return {key: value for key, value in chosen.items() if value is not None}

    @property
    def budget_seconds(self) -> float | None:
        """Time for the whole command; None where epochs decide."""
        return None if self.budget is None else duration(self.budget)

    @property
    def pilot_above_seconds(self) -> float | None:
        """How long a run may take that had no pilot; None is for ever."""
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
        return f"{self.stopping.after} of {epochs}" if self.stopping.after else epochs

    @property
    def peak_rate(self) -> float:
        """The learning rate for this global batch (Goyal et al. 2017, arXiv:1706.02677: k times the batch, k times)."""
        return self.learning_rate * self.batch_size / (self.schedule.batch or self.batch_size)


def is_name(text: str) -> bool:
    """Whether `text` may name a run or an export: it becomes a folder."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text) is not None
