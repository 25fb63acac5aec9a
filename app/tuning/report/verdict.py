"""What came of a sweep: the figures of result.json, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from epochal.app.evaluation.page import duration, percent
from epochal.app.tuning.report.formatting import metric, score, settings
from epochal.app.tuning.report.sweep_data import Sweep, Trial, read_result
from epochal.app.units import number_of

_TEST = ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_count")


def result_of(sweep: Sweep, winner: Trial | None, seconds: float) -> dict[str, Any]:
    """What `result.json` of a sweep holds; None where there is no winner or it was not retrained.

    `optimism` is the accuracy in validation minus that in the test.
    """
    tested = read_result(sweep.folder / "winner") if winner else {}
    validation = validation_accuracy(winner, sweep) if winner else None
    test = tested.get("test_accuracy")
    return {
        "winner": winner.trial if winner else None,
        "values": dict(winner.values) if winner else None,
        "monitor": sweep.monitor,
        "validation_score": winner.score if winner else None,
        "spread": winner.spread if winner else None,
        "validation_accuracy": validation,
        **{key: tested.get(key) for key in _TEST},
        "optimism": validation - test if validation is not None and test is not None else None,
        "trials": len(sweep.trials),
        **{
            status: len(sweep.having(status))
            for status in ("completed", "dropped", "failed", "lost")
        },
        "seconds": round(seconds, 2),
    }


def validation_accuracy(trial: Trial, sweep: Sweep) -> float | None:
    """Mean over the splits, also where trials were ranked by their loss."""
    if sweep.sign > 0:
        return trial.score
    splits = [
        read_result(split).get("validation_accuracy")
        for split in sorted(trial.folder.glob("split-*"))
    ]
    known = [accuracy for accuracy in splits if isinstance(accuracy, float)]
    return fmean(known) if known and len(known) == len(splits) else None


def sentences(sweep: Sweep, winner: Trial | None, result: Mapping[str, Any]) -> list[str]:
    """The verdict, one paragraph each."""
    if winner is None:
        return [_nothing(sweep), _trials(sweep, result)]
    return [_won(sweep, winner), _tested(sweep, result), _trials(sweep, result)]


def _nothing(sweep: Sweep) -> str:
    if sweep.having("completed"):
        return "No trial was declared the winner."
    return "No trial completed, so that none could win; the failures are listed below."


def _won(sweep: Sweep, winner: Trial) -> str:
    splits = number_of(len(winner.scores), "split")
    what = (
        f"mean and sample standard deviation of {splits}"
        if winner.spread is not None
        else f"{splits}, no spread"
    )
    said = f"Trial {winner.trial} won: {settings(winner, sweep) or 'nothing varied'}. "
    said += f"Its {metric(sweep)} is {score(winner, sweep)} ({what})."
    best = sweep.scored[0] if sweep.scored else winner
    if sweep.select == "one-se" and best.trial != winner.trial:
        said += (
            f" Trial {best.trial} has the best mean, {score(best, sweep)}; the one-standard-error rule prefers the "
            "winner, which is simpler."
        )
    return said


def _tested(sweep: Sweep, result: Mapping[str, Any]) -> str:
    test, low, high, images = (result[key] for key in _TEST)
    if test is None:
        return "The winner has not been retrained and tested."
    said = f"Retrained on the training and validation images, it is right on {percent(test, 2)}"
    said += f" of {images:,} test images" if images is not None else " of the test images"
    known = low is not None and high is not None
    said += f" (95 % interval {percent(low)} to {percent(high)})." if known else "."
    optimism = result["optimism"]
    if optimism is None:
        return said
    said += f" The optimism of the sweep, validation minus test accuracy, is {100 * optimism:+.2f} points"
    if not known:
        return f"{said}."
    validation = result["validation_accuracy"]
    if low <= validation <= high:
        return (
            f"{said}: the validation accuracy lies inside the interval, so that chance explains it."
        )
    if optimism < 0:
        return f"{said}: the winner does better than in validation, where it had fewer images to train on."
    again = read_result(sweep.folder / "winner").get("validation_accuracy")
    return f"{said}: {_beyond_chance(validation, optimism, again)}."


def _beyond_chance(validation: float, optimism: float, again: float | None) -> str:
    """Why the retrained winner is worse in the test; `again` is its own accuracy on the validation images.

    A score that was only chosen for its luck is no reason to be worse on those, too, by half of the optimism or more.
    """
    if again is None or validation - again < optimism / 2:
        return "more than chance explains, as a score by which one is chosen flatters it"
    return (
        "more than chance explains, but retraining went wrong, not the choice: the retrained network is right on "
        f"{percent(again)} of the validation images, the trial was on {percent(validation)}; try best.yaml with "
        "other seeds"
    )


def _trials(sweep: Sweep, result: Mapping[str, Any]) -> str:
    """`Of 20 planned trials, 15 completed, 4 dropped ...`, and how long it took."""
    said = [
        f"{len(found)} {verb}" for status, verb in _VERBS.items() if (found := sweep.having(status))
    ]
    planned = number_of(sweep.planned, "planned trial")
    became = ", ".join(said) or "none has begun"
    return f"Of {planned}, {became}; training took {duration(result['seconds'])} in all."


_VERBS = {
    "completed": "completed",
    "dropped": "dropped after some of the splits",
    "failed": "failed",
    "lost": "lost",
    "running": "still running",
}
