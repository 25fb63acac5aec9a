"""Check of the learning rate: the first steps as configured, with optimizer and clipping."""

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

# Sound networks were seen at 24 times their first loss after ten steps, and below it after thirty.
_STEPS = 50
_MAX_SECONDS = 5.0  # after the first step, which traces the graph
# Times the first loss: one that rose, and one from which nothing is learned any more.
_RISEN = 1.5
_DIVERGED = 4.0


def check_rate(setup: Setup) -> Finding:
    """Check that the loss stays finite and does not rise in the first steps, which are undone.

    They follow the schedule, a warm-up included.
    """
    config = setup.config
    relative_rate = shape_of(config, setup.batches.steps)
    rates = []
    for step in range(_STEPS):
        rates.append(config.peak_rate * relative_rate(step))
    with undone(setup), _first_epoch(setup):
        losses = list(_train_at_rates(setup, rates))
    rates_taken = rates[: len(losses)]
    return judge_losses(losses, max(rates_taken))


def judge_losses(losses: Sequence[float], rate: float) -> Finding:
    """Return what the losses of the first steps, at rates up to `rate`, say of it."""
    first = losses[0]
    last = final_loss(losses)
    text = (
        f"{first:.3g} to {last:.3g} in the first {len(losses)} steps, "
        f"at learning rates up to {rate:g}"
    )
    finite = math.isfinite(first) and math.isfinite(last)
    # A network that was too slow for all steps may not have had the time to recover.
    complete = len(losses) == _STEPS
    if not finite or (complete and last > _DIVERGED * first):
        return error(
            f"the loss went from {text}; "
            "ask epochal lr-find for a rate, or clip with --optim.clip-norm 1"
        )
    if complete and last > _RISEN * first:
        return warning(
            f"the loss rose from {text}; lower the rate, or let it rise with --schedule.warm-up 1"
        )
    return ok(f"the loss went from {text}")


def _train_at_rates(setup: Setup, rates: Sequence[float]) -> Iterator[float]:
    """Yield the loss of a step at each rate, until one is not finite or time is up."""
    model = setup.model
    deadline = math.inf
    steps = logs_of_steps(setup, len(rates))
    for rate in rates:
        model.optimizer.learning_rate = rate
        logs = next(steps)
        loss = float(logs["loss"])
        yield loss
        now = time.monotonic()
        if deadline == math.inf:
            deadline = now + _MAX_SECONDS
        if not math.isfinite(loss) or now > deadline:
            return


@contextmanager
def _first_epoch(setup: Setup) -> Iterator[None]:
    """Freeze the weights that the first epoch freezes, for as long as the context lasts."""
    callbacks = as_in_first_epoch(setup)
    try:
        yield
    finally:
        for callback in reversed(callbacks):
            callback.on_train_end()
