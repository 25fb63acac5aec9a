"""The verdict on a sweep: the figures of its result, and the same in words."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from epochal.app.evaluation.page import duration, percent
from epochal.app.store.sweep import SweepResult
from epochal.app.store.trials import COMPLETED, DROPPED, FAILED, LOST, RUNNING, Trial
from epochal.app.tuning.report.formatting import metric, score, settings
from epochal.app.tuning.report.standings import Standings, read_result
from epochal.app.units import number_of

_VERBS = {
    COMPLETED: "completed",
    DROPPED: "dropped after some of the splits",
    FAILED: "failed",
    LOST: "lost",
    RUNNING: "still running",
}


def make_result(standings: Standings, winner: Trial | None, seconds: float) -> SweepResult:
    """Return the figures of a sweep; `seconds` of training are all trials' and the winner's last
    one.
    """
    result = SweepResult(
        winner=None,
        values=None,
        monitor=standings.plan.monitor,
        validation_score=None,
        spread=None,
        validation_accuracy=None,
        test_accuracy=None,
        test_accuracy_low=None,
        test_accuracy_high=None,
        test_count=None,
        optimism=None,
        trials=len(standings.trials),
        completed=len(standings.having(COMPLETED)),
        dropped=len(standings.having(DROPPED)),
        failed=len(standings.having(FAILED)),
        lost=len(standings.having(LOST)),
        seconds=round(seconds, 2),
    )
    if winner is None:
        return result
    validation = validation_accuracy(winner, standings)
    result = replace(
        result,
        winner=winner.name,
        values=winner.active_values(standings.space),
        validation_score=winner.score,
        spread=winner.spread,
        validation_accuracy=validation,
    )
    retrained = read_result(standings.sweep.winner)
    if retrained is None or retrained.test is None:
        return result
    test = retrained.test
    optimism = None
    if validation is not None:
        optimism = validation - test.accuracy
    return replace(
        result,
        test_accuracy=test.accuracy,
        test_accuracy_low=test.accuracy_low,
        test_accuracy_high=test.accuracy_high,
        test_count=test.count,
        optimism=optimism,
    )


def validation_accuracy(trial: Trial, standings: Standings) -> float | None:
    """Return the mean accuracy over the splits, also where trials were ranked by their loss."""
    if standings.sign > 0:
        return trial.score
    accuracies = []
    for run in standings.split_runs(trial):
        result = read_result(run)
        if result is None or result.validation is None:
            return None
        accuracies.append(result.validation.accuracy)
    if not accuracies:
        return None
    return fmean(accuracies)


def describe_result(standings: Standings, winner: Trial | None, result: SweepResult) -> list[str]:
    """Return the verdict in words, one paragraph each."""
    trials = _describe_trials(standings, result)
    if winner is not None:
        return [_describe_winner(standings, winner), _describe_test(standings, result), trials]
    if result.completed:
        return ["No trial was declared the winner.", trials]
    return ["No trial completed, so that none could win; the failures are listed below.", trials]


def _describe_winner(standings: Standings, winner: Trial) -> str:
    splits = number_of(len(winner.scores), "split")
    basis = f"{splits}, no spread"
    if winner.spread is not None:
        basis = f"mean and sample standard deviation of {splits}"
    values = settings(winner, standings) or "nothing varied"
    figure = score(winner, standings)
    text = f"Trial {winner.name} won: {values}. Its {metric(standings)} is {figure} ({basis})."
    if standings.plan.select != "one-se" or not standings.scored:
        return text
    best = standings.scored[0]
    if best.name == winner.name:
        return text
    return (
        f"{text} Trial {best.name} has the best mean, {score(best, standings)}; the "
        "one-standard-error rule prefers the winner, which is simpler."
    )


def _describe_test(standings: Standings, result: SweepResult) -> str:
    accuracy = result.test_accuracy
    low = result.test_accuracy_low
    high = result.test_accuracy_high
    if accuracy is None or low is None or high is None:
        return "The winner has not been retrained and tested."
    text = (
        "Retrained on the training and validation images, it is right on "
        f"{percent(accuracy, 2)} of {result.test_count:,} test images "
        f"(95 % interval {percent(low)} to {percent(high)})."
    )
    optimism = result.optimism
    validation = result.validation_accuracy
    if optimism is None or validation is None:
        return text
    text += " The optimism of the sweep, validation minus test accuracy, is "
    text += f"{100 * optimism:+.2f} points: "
    if low <= validation <= high:
        text += "the validation accuracy lies inside the interval, so that chance explains it."
    elif optimism < 0:
        text += "the winner does better than in validation, where it had fewer images to train on."
    else:
        text += _explain_optimism(standings, validation, optimism)
    return text


def _explain_optimism(standings: Standings, validation: float, optimism: float) -> str:
    """Say why the retrained winner is worse in the test than the trial was in validation.

    A score that was only chosen for its luck is no reason to be worse on the validation images,
    too, by half of the optimism or more.
    """
    result = read_result(standings.sweep.winner)
    if result is not None and result.validation is not None:
        retrained = result.validation.accuracy
        if validation - retrained >= optimism / 2:
            return (
                "more than chance explains, but retraining went wrong, not the choice: the "
                f"retrained network is right on {percent(retrained)} of the validation images, "
                f"the trial was on {percent(validation)}; try best.yaml with other seeds."
            )
    return "more than chance explains, as a score by which one is chosen flatters it."


def _describe_trials(standings: Standings, result: SweepResult) -> str:
    """Return `Of 20 planned trials, 15 completed, 4 dropped ...`, and how long training took."""
    planned = number_of(standings.plan.trials, "planned trial")
    parts = []
    for status, verb in _VERBS.items():
        count = len(standings.having(status))
        if count:
            parts.append(f"{count} {verb}")
    if not parts:
        parts.append("none has begun")
    fates = ", ".join(parts)
    return f"Of {planned}, {fates}; training took {duration(result.seconds)} in all."
