"""Objective settings: what training minimises."""

from dataclasses import dataclass
from typing import Literal

from epochal.app.config.checks import check, check_at_least, check_share
from epochal.app.config.settings import setting


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What training minimises."""

    loss: Literal["cross_entropy", "hinge", "categorical_hinge", "squared_error"] = setting(
        "cross_entropy",
        "cross_entropy, hinge (sum over the wrong classes), categorical_hinge (the worst of them) "
        "or squared_error",
    )
    label_smoothing: float = setting(
        0.0, "share of cross_entropy's target that is spread over all classes"
    )
    class_weights: (
        Literal["balanced", "effective_number", "square_root"] | dict[str, float] | None
    ) = setting(
        None,
        "balanced (every class the same), effective_number (nearly, as far as a class has fewer "
        "than 1,000 images), square_root (half-way to balanced), or weights by class as "
        "'{\"cat\": 2}', others 1 (null: every image counts the same)",
    )

    def __post_init__(self) -> None:
        check_share("objective.label_smoothing", self.label_smoothing)
        fits = not self.label_smoothing or self.loss == "cross_entropy"
        check(
            fits,
            "objective.loss",
            "cross_entropy for smoothing",
            self.loss,
        )
        if isinstance(self.class_weights, dict):
            for weight in self.class_weights.values():
                check_at_least("objective.class_weights", weight, 0)
