"""Optimizer settings: decay, rates of single weights, freezing, clipping."""

from dataclasses import dataclass
from typing import Any, Literal

from epochal.app.config.checks import (
    check,
    check_at_least,
    check_between,
    check_inside,
    check_positive,
    is_number,
    pattern_fault,
)
from epochal.app.config.settings import setting

# Options of running averages, and options that are amounts: Keras takes any number for them
# without a word, and diverges.
_AVERAGES = ("momentum", "beta_1", "beta_2", "adam_beta_1", "adam_beta_2", "rho")
_AMOUNTS = ("epsilon", "initial_accumulator_value")
_CLIPPING = ("clip_norm", "clip_variable", "clip_value", "clip_percentile")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """What goes with the optimizer."""

    options: dict[str, Any] | None = setting(
        None,
        "further arguments of the optimizer, as '{\"momentum\": 0.8}' "
        "(null: for sgd Nesterov momentum 0.9)",
    )
    weight_decay: float = setting(1e-4, "pulls kernels, and nothing else, towards 0")
    decay: Literal["coupled", "decoupled"] | None = setting(
        None,
        "coupled (weight_decay * w joins the gradient) or decoupled (w loses rate * weight_decay "
        "* w, as in AdamW) (null: coupled, unless the optimizer comes with decoupled decay)",
    )
    l1: float = setting(0.0, "l1 * sign(w) joins the gradient of kernels")
    l1_proximal: bool = setting(
        False,
        "instead, every update ends with a soft threshold of rate * l1 / (1 - momentum): "
        "exact zeros",
    )
    decays: str | None = setting(
        None,
        "a regular expression on paths such as stem_conv/kernel: the weights that decay "
        "(null: kernels)",
    )
    rates: dict[str, float] | None = setting(
        None,
        "factors on the rate by regular expression on paths, as '{\"^stem\": 0.1}' "
        "(null: 1 for all)",
    )
    rate_growth: float = setting(
        1.0,
        "factor on the rate for each layer below the topmost one: below 1, lower layers learn "
        "slower",
    )
    frozen: str | None = setting(
        None,
        "a regular expression on paths: weights that are not trained; batch norm all of whose "
        "weights these are stays in inference mode (null: none)",
    )
    unfreeze_every: int | None = setting(
        None,
        "after each so many epochs the topmost frozen layer is trained, too "
        "(null: they stay frozen)",
        counts="epochs",
    )
    head_epochs: int = setting(
        0,
        "so many epochs of the logits alone come first, on the network's features of the images, "
        "which are computed once (0: none)",
    )
    micro_batches: int = setting(
        1,
        "each device takes its share of a batch in so many parts, one after the other, to save "
        "memory, and adds their gradients for the one update (batch norm sees the parts)",
    )
    ema: float | None = setting(
        None,
        "decay of an average of the weights over the steps, as 0.999, which is evaluated, kept and "
        "exported in their place (null: none)",
    )
    clip_norm: float | None = setting(
        None, "largest global norm of the gradient (null: measured, not clipped)"
    )
    clip_variable: float | None = setting(
        None, "instead: largest norm of each variable's gradient (null: not clipped)"
    )
    clip_value: float | None = setting(
        None, "instead: largest absolute value in the gradient (null: not clipped)"
    )
    clip_percentile: float | None = setting(
        None,
        "instead: the global norm is clipped to this percentile of the latest 100 steps' norms "
        "(null: not clipped)",
    )

    def __post_init__(self) -> None:
        self._check_options()
        check_at_least("optim.weight_decay", self.weight_decay, 0)
        check_at_least("optim.l1", self.l1, 0)
        fits = self.l1 > 0 or not self.l1_proximal
        check(
            fits,
            "optim.l1",
            "above 0 with l1_proximal",
            self.l1,
        )
        check_between(
            "optim.head_epochs",
            self.head_epochs,
            0,
            10_000,
        )
        check_between(
            "optim.micro_batches",
            self.micro_batches,
            1,
            64,
        )
        check_inside("optim.ema", self.ema, 0, 1)
        check_positive("optim.rate_growth", self.rate_growth)
        self._check_patterns()
        every = self.unfreeze_every
        check_at_least(
            "optim.unfreeze_every",
            every,
            1,
            " epoch",
        )
        fits = every is None or self.frozen is not None
        check(
            fits,
            "optim.unfreeze_every",
            "null without optim.frozen",
            every,
        )
        self._check_clipping()

    def _check_patterns(self) -> None:
        """Check regular expressions, and the factors that go with them."""
        rates = self.rates or {}
        patterns = [("decays", self.decays or ""), ("frozen", self.frozen or "")]
        patterns += [("rates", pattern) for pattern in rates]
        for name, pattern in patterns:
            fault = pattern_fault(pattern)
            check(
                fault is None,
                f"optim.{name}",
                f"a regular expression ({fault})",
                pattern,
            )
        for factor in rates.values():
            check_at_least("optim.rates", factor, 0)

    def _check_options(self) -> None:
        for name, value in (self.options or {}).items():
            key = f"optim.options.{name}"
            usable = isinstance(value, int | float) and is_number(value, 0)
            if name in _AVERAGES:
                check(
                    usable and value < 1,
                    key,
                    "from 0 to below 1",
                    value,
                )
            elif name in _AMOUNTS:
                check(usable, key, "0 or more", value)

    def _check_clipping(self) -> None:
        for name, limit in self.clipping.items():
            check_positive(f"optim.{name}", limit)
        single = len(self.clipping) <= 1
        check(
            single,
            "optim.clip_*",
            "one kind of clipping at most",
            self.clipping,
        )
        percentile = self.clip_percentile
        fits = percentile is None or percentile <= 100
        check(
            fits,
            "optim.clip_percentile",
            "at most 100",
            percentile,
        )

    @property
    def clipping(self) -> dict[str, float]:
        """The limit that is set, by name: one of clip_norm, clip_variable, ... or none."""
        limits = {name: getattr(self, name) for name in _CLIPPING}
        return {name: limit for name, limit in limits.items() if limit is not None}
