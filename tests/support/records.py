"""Records of runs with plain values, for tests that need a run's folder and no training."""

from typing import Any

from epochal.app.store.data_card import Counts, DataCard
from epochal.app.store.environment import Environment
from epochal.app.store.model_card import Calibration, ModelCard
from epochal.app.store.result import Figures, Result


def make_figures(accuracy: float = 0.5, **changes: Any) -> Figures:
    """Figures of a split of 100 images."""
    values: dict[str, Any] = {
        "accuracy": accuracy,
        "accuracy_low": max(0.0, accuracy - 0.1),
        "accuracy_high": min(1.0, accuracy + 0.1),
        "loss": 1.0,
        "count": 100,
        "chance": 0.1,
    }
    return Figures(**values | changes)


def make_result(**changes: Any) -> Result:
    """The result of a run of three epochs, by default with figures of validation and test."""
    values: dict[str, Any] = {
        "dataset": "digits",
        "model": "softmax",
        "params": 650,
        "seed": 0,
        "epochs": 3,
        "best_epoch": 2,
        "rollbacks": 0,
        "images_per_second": 1000.0,
        "wall_seconds": 12.5,
        "validation": make_figures(),
        "test": make_figures(),
    }
    return Result(**values | changes)


def make_data_card(**changes: Any) -> DataCard:
    """The data card of a run on three classes of grey images."""
    values: dict[str, Any] = {
        "classes": ("a", "b", "c"),
        "channels": 1,
        "stored_size": 8,
        "image_size": 8,
        "mean": (100.0,),
        "deviation": (50.0,),
        "fingerprint": "0" * 64,
        "counts": Counts(train=1000, validation=250, test=500),
    }
    return DataCard(**values | changes)


def make_environment(**changes: Any) -> Environment:
    """The environment of a run on another machine."""
    values: dict[str, Any] = {
        "command": ("epochal", "train"),
        "python": "3.11.7",
        "platform": "Linux",
        "cores": 2,
        "started": "2026-01-31T12:00:00+0100",
        "packages": {"keras": "3.15.1"},
    }
    return Environment(**values | changes)


def make_model_card() -> ModelCard:
    """The card of an exported model of two classes."""
    return ModelCard(
        run="r",
        model="softmax",
        dataset="digits",
        data_sha256="0" * 64,
        classes=2,
        input={"image_size": 8},
        judged_on="test",
        accuracy=0.9,
        accuracy_low=0.8,
        accuracy_high=0.95,
        count=100,
        loss=0.3,
        calibration=Calibration(
            temperature=1.5,
            fitted_on="validation",
            judged_on="test",
            error_before=0.1,
            error_after=0.05,
        ),
        precision="float32",
        parameters=650,
        trained={"epochs": 3},
    )
