"""What can be known about a training before it starts: checks in order, each a function from a set-up to a finding."""

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
    "classes": data.classes_agree,
    "flips": data.flips,
    "splits": leaks.splits_apart,
    "betas": graph.betas,
    "biases": graph.biases,
    "logits": graph.logits_meet_loss,
    "evaluation": evaluation.deterministic,
    "batch-mates": evaluation.independent,
    "first loss": gradients.first_loss,
    "gradients": gradients.every_weight,
    "symmetry": gradients.symmetry,
    "differences": differences.central_differences,
    "steps": gradients.own_batch,
    "rate": rate.bearable,
    "by heart": learning.memorized,
    "random labels": leaks.random_labels,
    "memory": cost.memory,
    "disk": cost.disk,
    "time": cost.duration,
}


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What a check found, and how long it took."""

    check: str
    level: Level
    text: str
    seconds: float


def examine(setup: Setup) -> Iterator[Examined]:
    """Runs all checks, one after the other, on copies of the weights; stores nothing."""
    for name, check in CHECKS.items():
        began = time.monotonic()
        finding = check(setup)
        yield Examined(
            check=name, level=finding.level, text=finding.text, seconds=time.monotonic() - began
        )
