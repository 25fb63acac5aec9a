"""Stopping settings: when training ends, and which weights are kept."""

from dataclasses import dataclass
from typing import Literal

from epochal.app.config.checks import check_at_least
from epochal.app.config.settings import setting


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """Early stopping; the best epoch's weights are kept in any case."""

    monitor: Literal["val_accuracy", "val_loss", "val_macro_f1"] = setting(
        "val_accuracy",
        "val_accuracy, val_loss or val_macro_f1 (mean of the classes' F1, where some are rare)",
        unsearchable="trials would not be scored alike; give it to the command",
    )
    after: int | None = setting(
        None,
        "end after so many epochs; the schedule's course is still laid out for all `epochs` "
        "(null: all)",
        unsearchable="the sweep sets it; search epochs instead",
        identity=False,
    )
    patience: int | None = setting(
        None,
        "epochs without improvement after which training stops (null: never)",
        counts="epochs",
    )
    keep: int | None = setting(
        None,
        "so many best epochs' weights stay as files in the run's best_weights/ "
        "(null: the best one's alone, in checkpoints/best)",
    )

    def __post_init__(self) -> None:
        for name in ("after", "patience", "keep"):
            check_at_least(
                f"stopping.{name}",
                getattr(self, name),
                1,
                " epoch",
            )
