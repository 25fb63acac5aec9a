"""The verdict on a sweep: the figures of its result, and the same in words."""

from __future__ import annotations

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
    """Return the figures of a sweep; `seconds` of training are all trials' and the winner's last one."""
    test = read_result(standings.sweep.winner.folder) if winner else {}
    test_accuracy = test.get("test_accuracy")
    validation = validation_accuracy(winner, standings) if winner else None
    optimism = None
    if validation is not None and test_accuracy is not None:
        optimism = validation - test_accuracy
    return SweepResult(
        winner=winner.name if winner else None,
        values=winner.active_values if winner else None,
        monitor=standings.plan.monitor,
        validation_score=winner.score if winner else None,
        spread=winner.spread if winner else None,
        validation_accuracy=validation,
        test_accuracy=test_accuracy,
        test_accuracy_low=test.get("test_accuracy_low"),
        test_accuracy_high=test.get("test_accuracy_high"),
        test_count=test.get("test_count"),
        optimism=optimism,
        trials=len(standings.trials),
        completed=len(standings.having(COMPLETED)),
        dropped=len(standings.having(DROPPED)),
        failed=len(standings.having(FAILED)),
        lost=len(standings.having(LOST)),
        seconds=round(seconds, 2),
    )


def validation_accuracy(trial: Trial, standings: Standings) -> float | None:
    """Return the mean accuracy over the splits, also where trials were ranked by their loss."""
    if standings.sign > 0:
        return trial.score
    folders = standings.split_folders(trial)
    accuracies = []
    for folder in folders:
        accuracy = read_result(folder).get("validation_accuracy")
        if isinstance(accuracy, float):
            accuracies.append(accuracy)
    if not accuracies or len(accuracies) < len(folders):
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
    text = f"Trial {winner.name} won: {settings(winner, standings) or 'nothing varied'}. "
    text += f"Its {metric(standings)} is {score(winner, standings)} ({basis})."
    best = standings.scored[0] if standings.scored else winner
    if standings.plan.select == "one-se" and best.name != winner.name:
        text += (
            f" Trial {best.name} has the best mean, {score(best, standings)}; the one-standard-error rule prefers the "
            "winner, which is simpler."
        )
    return text


def _describe_test(standings: Standings, result: SweepResult) -> str:
    if result.test_accuracy is None:
        return "The winner has not been retrained and tested."
    low = result.test_accuracy_low
    high = result.test_accuracy_high
    images = " of the test images"
    if result.test_count is not None:
        images = f" of {result.test_count:,} test images"
    text = "Retrained on the training and validation images, it is right on "
    text += f"{percent(result.test_accuracy, 2)}{images}"
    if low is not None and high is not None:
        text += f" (95 % interval {percent(low)} to {percent(high)})"
    text += "."
    optimism = result.optimism
    validation = result.validation_accuracy
    if optimism is None or validation is None:
        return text
    text += f" The optimism of the sweep, validation minus test accuracy, is {100 * optimism:+.2f} points"
    if low is None or high is None:
        return f"{text}."
    if low <= validation <= high:
        return (
            f"{text}: the validation accuracy lies inside the interval, so that chance explains it."
        )
    if optimism < 0:
        return f"{text}: the winner does better than in validation, where it had fewer images to train on."
    retrained = read_result(standings.sweep.winner.folder).get("validation_accuracy")
    return f"{text}: {_explain_optimism(validation, optimism, retrained)}."


def _explain_optimism(validation: float, optimism: float, retrained: float | None) -> str:
    """Say why the retrained winner is worse in the test; `retrained` is its own accuracy on the validation images.

    A score that was only chosen for its luck is no reason to be worse on those, too, by half of the optimism or more.
    """
    if retrained is None or validation - retrained < optimism / 2:
        return "more than chance explains, as a score by which one is chosen flatters it"
    return (
        "more than chance explains, but retraining went wrong, not the choice: the retrained network is right on "
        f"{percent(retrained)} of the validation images, the trial was on {percent(validation)}; try best.yaml with "
        "other seeds"
    )


def _describe_trials(standings: Standings, result: SweepResult) -> str:
    """Return `Of 20 planned trials, 15 completed, 4 dropped ...`, and how long training took."""
    parts = []
    for status, verb in _VERBS.items():
        count = len(standings.having(status))
        if count:
            parts.append(f"{count} {verb}")
    planned = number_of(standings.plan.trials, "planned trial")
    fates = ", ".join(parts) or "none has begun"
    return f"Of {planned}, {fates}; training took {duration(result.seconds)} in all."
