"""What training minimises, and how."""

from dataclasses import dataclass
from typing import Any, Literal

from epochal.app.config.checks import check, is_number, pattern_fault

_DECAYS = (
    "momentum",
    "beta_1",
    "beta_2",
    "adam_beta_1",
    "adam_beta_2",
    "rho",
)  # of running averages
_AMOUNTS = ("epsilon", "initial_accumulator_value")


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
        check(
            not smoothing or self.loss == "cross_entropy",
            "objective.loss",
            "cross_entropy for smoothing",
            self.loss,
        )
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
            (null: coupled, unless the optimizer comes with decoupled decay)
        l1: l1 * sign(w) joins the gradient of kernels
        l1_proximal: instead, every update ends with a soft threshold of rate * l1 / (1 - momentum): exact zeros
        decays: a regular expression on paths such as stem_conv/kernel: the weights that decay (null: kernels)
        rates: factors on the rate by regular expression on paths, as '{"^stem": 0.1}'
        rate_growth: factor on the rate for each layer below the topmost one: below 1, lower layers learn slower
        frozen: a regular expression on paths: weights that are not trained; batch norm all of whose weights these are
            stays in inference mode (null: none)
        unfreeze_every: after each so many epochs the topmost frozen layer is trained, too (null: they stay frozen)
        micro_batches: each device takes its share of a batch in so many parts, one after the other, to save memory, and
            adds their gradients for the one update (batch norm sees the parts)
        ema: decay of an average of the weights over the steps, as 0.999, which is evaluated, kept and exported in their
            place (null: none)
        clip_norm: largest global norm of the gradient (null: measured, not clipped)
        clip_variable: instead: largest norm of each variable's gradient
        clip_value: instead: largest absolute value in the gradient
        clip_percentile: instead: the global norm is clipped to this percentile of the latest 100 steps' norms
    """

    options: dict[str, Any] | None = None
    weight_decay: float = 1e-4
    decay: Literal["coupled", "decoupled"] | None = None
    l1: float = 0.0
    l1_proximal: bool = False
    decays: str | None = None
    rates: dict[str, float] | None = None
    rate_growth: float = 1.0
    frozen: str | None = None
    unfreeze_every: int | None = None
    micro_batches: int = 1
    ema: float | None = None
    clip_norm: float | None = None
    clip_variable: float | None = None
    clip_value: float | None = None
    clip_percentile: float | None = None

    def __post_init__(self) -> None:
        self._check_options()
        for key in ("weight_decay", "l1"):
            check(is_number(getattr(self, key), 0), f"optim.{key}", "0 or more", getattr(self, key))
        check(self.l1 > 0 or not self.l1_proximal, "optim.l1", "above 0 with l1_proximal", self.l1)
        check(
            1 <= self.micro_batches <= 64, "optim.micro_batches", "from 1 to 64", self.micro_batches
        )
        check(
            self.ema is None or 0 < self.ema < 1,
            "optim.ema",
            "above 0 and below 1, or null",
            self.ema,
        )
        self._check_patterns()
        every = self.unfreeze_every
        check(every is None or every >= 1, "optim.unfreeze_every", "1 epoch or more", every)
        check(
            every is None or self.frozen is not None,
            "optim.unfreeze_every",
            "null without optim.frozen",
            every,
        )
        growth = self.rate_growth
        check(is_number(growth, 0) and growth > 0, "optim.rate_growth", "above 0", growth)
        for key, limit in self.clipping.items():
            check(is_number(limit, 0) and limit > 0, f"optim.{key}", "above 0 or null", limit)
        check(
            len(self.clipping) <= 1, "optim.clip_*", "one kind of clipping at most", self.clipping
        )
        percentile = self.clip_percentile
        check(
            percentile is None or percentile <= 100,
            "optim.clip_percentile",
            "at most 100",
            percentile,
        )

    def _check_patterns(self) -> None:
        """Regular expressions, and the factors that go with them."""
        patterns = [
            ("decays", self.decays),
            ("frozen", self.frozen),
            *(("rates", one) for one in self.rates or {}),
        ]
        for key, pattern in patterns:
            fault = pattern_fault(pattern or "")
            check(fault is None, f"optim.{key}", f"a regular expression ({fault})", pattern)
        for factor in (self.rates or {}).values():
            check(is_number(factor, 0), "optim.rates", "0 or more", factor)

    def _check_options(self) -> None:
        """Refuses what Keras takes without a word and diverges with."""
        for key, value in (self.options or {}).items():
            number = isinstance(value, int | float) and is_number(value, 0)
            if key in _DECAYS:
                check(number and value < 1, f"optim.options.{key}", "from 0 to below 1", value)
            elif key in _AMOUNTS:
                check(number, f"optim.options.{key}", "0 or more", value)

    @property
    def clipping(self) -> dict[str, float]:
        """The limits that were given: clip_norm, clip_variable, clip_value or clip_percentile, or none."""
        keys = ("clip_norm", "clip_variable", "clip_value", "clip_percentile")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
