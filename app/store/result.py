"""Results: the reported figures of a finished run, as `result.json` stores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from epochal.app.store.record import number_or_none, whole_or_none


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The scalar figures of one split."""

    accuracy: float
    """Share of images whose largest logit is the true class, 0..1."""
    accuracy_low: float
    """Lower bound of the accuracy's 95 % interval."""
    accuracy_high: float
    """Upper bound of the accuracy's 95 % interval."""
    loss: float
    """Mean cross-entropy in nats."""
    count: int
    """Number of images."""
    chance: float | None = None
    """Accuracy of always guessing the commonest class; None where an early version wrote it."""
    top5_accuracy: float | None = None
    """None up to five classes."""
    macro_precision: float | None = None
    """Mean over the classes that have images; None where an early version wrote it, as the next."""
    macro_recall: float | None = None
    """Likewise; the balanced accuracy."""
    macro_f1: float | None = None
    """Likewise."""

    def to_dict(self, prefix: str = "") -> dict[str, float | int]:
        """Return the figures as plain numbers by prefix and name; one that is None is left out."""
        figures: dict[str, float | int] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None:
                figures[prefix + name] = value
        return figures

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], prefix: str = "") -> "Figures":
        """Read what `to_dict` returned; further keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: a figure is missing or no number.
        """
        return cls(
            accuracy=float(values[f"{prefix}accuracy"]),
            accuracy_low=float(values[f"{prefix}accuracy_low"]),
            accuracy_high=float(values[f"{prefix}accuracy_high"]),
            loss=float(values[f"{prefix}loss"]),
            count=int(values[f"{prefix}count"]),
            chance=number_or_none(values.get(f"{prefix}chance")),
            top5_accuracy=number_or_none(values.get(f"{prefix}top5_accuracy")),
            macro_precision=number_or_none(values.get(f"{prefix}macro_precision")),
            macro_recall=number_or_none(values.get(f"{prefix}macro_recall")),
            macro_f1=number_or_none(values.get(f"{prefix}macro_f1")),
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a finished run; at least one split was evaluated."""

    SCHEMA: ClassVar[int] = 1

    dataset: str
    model: str
    params: int
    """Trainable weights."""
    seed: int
    epochs: int
    """Number of epochs that were trained."""
    best_epoch: int | None
    """The epoch whose weights are kept, from 1."""
    wall_seconds: float
    """Duration of the training."""
    rollbacks: int | None = None
    """How often training went back to a checkpoint; None where an earlier version did not count."""
    last_learning_rate: float | None = None
    """Learning rate of the last step; None where an earlier version did not store it."""
    images_per_second: float | None = None
    """Median speed of the epochs' training steps; None where no epoch had two steps."""
    validation: Figures | None = None
    test: Figures | None = None

    @property
    def judged_on(self) -> str:
        """The split by which the run is judged: test, or validation without test figures."""
        if self.test is not None:
            return "test"
        return "validation"

    @property
    def judged(self) -> Figures:
        """The figures of the split `judged_on`."""
        figures = self.test or self.validation
        assert figures is not None
        return figures

    @property
    def learned(self) -> bool:
        """Whether the run beats guessing the commonest class; not so without a stored chance."""
        chance = self.judged.chance
        return chance is not None and self.judged.accuracy_low > chance

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; figures are named by their split, as `test_accuracy`."""
        values: dict[str, Any] = {
            "schema": self.SCHEMA,
            "dataset": self.dataset,
            "model": self.model,
            "params": self.params,
            "seed": self.seed,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "rollbacks": self.rollbacks,
            "last_learning_rate": self.last_learning_rate,
        }
        if self.validation is not None:
            values.update(self.validation.to_dict("validation_"))
        if self.test is not None:
            values.update(self.test.to_dict("test_"))
        values["images_per_second"] = self.images_per_second
        values["wall_seconds"] = self.wall_seconds
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Result":
        """Read what `to_dict` returned, also by earlier versions.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or of the wrong type.
        """
        validation = _figures_of(values, "validation_")
        test = _figures_of(values, "test_")
        if validation is None and test is None:
            raise KeyError("test_accuracy")
        return cls(
            dataset=str(values["dataset"]),
            model=str(values["model"]),
            params=int(values["params"]),
            seed=int(values["seed"]),
            epochs=int(values["epochs"]),
            best_epoch=whole_or_none(values["best_epoch"]),
            wall_seconds=float(values["wall_seconds"]),
            rollbacks=whole_or_none(values.get("rollbacks")),
            last_learning_rate=number_or_none(values.get("last_learning_rate")),
            images_per_second=number_or_none(values.get("images_per_second")),
            validation=validation,
            test=test,
        )


@dataclass(frozen=True, kw_only=True)
class SplitUses:
    """How often the test split of a run was evaluated, training's end being the first time."""

    SCHEMA: ClassVar[int] = 1

    uses: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"schema": self.SCHEMA, "uses": self.uses}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SplitUses":
        """Read what `to_dict` returned.

        Raises:
            KeyError, TypeError, ValueError: the number is missing or none.
        """
        return cls(uses=int(values["uses"]))


def _figures_of(values: Mapping[str, Any], prefix: str) -> Figures | None:
    if f"{prefix}accuracy" not in values:
        return None
    return Figures.from_dict(values, prefix)
