"""Checks of a training before it starts: each is a function from a setup to a finding."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from epochal.app.doctor import (
    cost,
    data,
    differences,
    evaluation,
    gradients,
    graph,
    leaks,
    learning,
    rate,
)
from epochal.app.doctor.finding import Finding, Level
from epochal.app.training.run.setup import Setup

CHECKS: dict[str, Callable[[Setup], Finding]] = {
    "classes": data.check_classes,
    "flips": data.check_flips,
    "splits": leaks.check_splits,
    "betas": graph.check_betas,
    "biases": graph.check_biases,
    "logits": graph.check_logits,
    "evaluation": evaluation.check_determinism,
    "batch-mates": evaluation.check_batch_independence,
    "first loss": gradients.check_first_loss,
    "gradients": gradients.check_every_weight,
    "symmetry": gradients.check_symmetry,
    "differences": differences.check_differences,
    "steps": gradients.check_steps,
    "rate": rate.check_rate,
    "by heart": learning.check_memorisation,
    "random labels": leaks.check_random_labels,
    "memory": cost.check_memory,
    "disk": cost.check_disk,
    "time": cost.check_duration,
}


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The finding of one check, and the seconds that it took."""

    check: str
    level: Level
    text: str
    seconds: float


def examine(setup: Setup) -> Iterator[CheckResult]:
    """Run all checks in order, on copies of the weights; store nothing."""
    for name, check in CHECKS.items():
        start = time.monotonic()
        finding = check(setup)
        seconds = time.monotonic() - start
        yield CheckResult(
            check=name,
            level=finding.level,
            text=finding.text,
            seconds=seconds,
        )
