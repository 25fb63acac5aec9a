"""Whether the network bears the first steps as they are configured: optimizer, learning rate, clipping."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.evaluation.rate_labels import final_loss
from epochal.app.training.probes.probe_steps import logs_of_steps, undone
from epochal.app.training.run.callback_list import as_in_first_epoch
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.learning_rate import shape_of

_STEPS = 50  # sound networks were seen at 24 times their first loss after ten steps, and below it after thirty
_SECONDS = 5.0  # or so long
_HIGHER = 1.5
_HOPELESS = 4.0  # times the first loss: no noise; nothing is learned any more


def bearable(setup: Setup) -> Finding:
    """The loss stays finite and is not higher after the run's first steps, a warm-up included; they are undone."""
    shape = shape_of(setup.config, setup.batches.steps)
    rates = [setup.config.peak_rate * shape(step) for step in range(_STEPS)]
    with undone(setup), _as_in_training(setup):
        losses = list(_losses(setup, rates))
    return judged(losses, max(rates[: len(losses)]))


def judged(losses: Sequence[float], rate: float) -> Finding:
    """What the losses of the first steps, at rates up to this one, say of it."""
    first = losses[0]
    last = final_loss(losses)
    told = f"{first:.3g} to {last:.3g} in the first {len(losses)} steps, at learning rates up to {rate:g}"
    known = len(losses) == _STEPS
    if not math.isfinite(first + last) or (known and last > _HOPELESS * first):
        return error(
            f"the loss went from {told}; ask epochal lr-find for a rate, or clip with --optim.clip-norm 1"
        )
    if known and last > _HIGHER * first:
        return warning(
            f"the loss rose from {told}; lower the rate, or let it rise with --schedule.warm-up 1"
        )
    return ok(f"the loss went from {told}")


def _losses(setup: Setup, rates: Sequence[float]) -> Iterator[float]:
    """The loss of each step at its rate, until one is not finite or time is up."""
    model = setup.model
    end = math.inf
    steps = logs_of_steps(setup, len(rates))
    for rate in rates:
        model.optimizer.learning_rate = rate
        loss = float(next(steps)["loss"])
        yield loss
        end = min(
            end, time.monotonic() + _SECONDS
        )  # from the first step on, which traces the graph
        if not math.isfinite(loss) or time.monotonic() > end:
            return


@contextmanager
def _as_in_training(setup: Setup) -> Iterator[None]:
    """While it lasts, what the first epoch freezes is frozen."""
    watching = as_in_first_epoch(setup)
    try:
        yield
    finally:
        for callback in reversed(watching):
            callback.on_train_end()
