"""Trials of a sweep: proposals and outcomes, whose order restores a search that was stopped."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from epochal.app.store.plan import Space

SCHEMA = 1
RUNNING = "running"
COMPLETED = "completed"
DROPPED = "dropped"
FAILED = "failed"
LOST = "lost"
ENDED = (COMPLETED, DROPPED, FAILED, LOST)
STATUSES = (*ENDED, RUNNING)
UNREADABLE = "trial.json is missing or damaged"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One point of the search space that is to be trained."""

    trial: str
    """The number of the trial, padded with zeros: the name of its folder."""
    values: Mapping[str, Any]
    """By dotted name of the configuration field; inactive ranges are left out."""
    until: int | None = None
    """The epoch after which training ends; None trains all epochs of the configuration."""
    promoted_from: str | None = None
    """The trial whose runs this one resumes (Hyperband), None begins anew."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "trial": self.trial,
            "values": dict(self.values),
            "until": self.until,
            "goes_on_from": self.promoted_from,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Proposal":
        """Return the proposal that `to_dict` described."""
        return cls(
            trial=values["trial"],
            values=values["values"],
            until=values["until"],
            promoted_from=values["goes_on_from"],
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended, as its worker reports it."""

    status: str
    """One of `STATUSES`: a dropped one was clearly worse than the best after some of the splits."""
    score: float | None = None
    """The mean of `scores`, None without any."""
    scores: tuple[float, ...] = ()
    """Of each split that is done."""
    spread: float | None = None
    """The sample standard deviation of the scores."""
    epochs: tuple[int, ...] = ()
    """The best epoch of each split."""
    weights: int | None = None
    """The number of trainable weights."""
    seconds: float = 0.0
    message: str | None = None
    """Why it failed."""

    def outcome_dict(self) -> dict[str, Any]:
        """Return the outcome's plain values for JSON."""
        return {
            "status": self.status,
            "score": self.score,
            "scores": list(self.scores),
            "spread": self.spread,
            "epochs": list(self.epochs),
            "weights": self.weights,
            "seconds": self.seconds,
            "message": self.message,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Outcome":
        """Return the outcome that `outcome_dict` described.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: the values are none.
        """
        if "score" not in values:
            raise KeyError("score")
        return cls(**_outcome_fields(values))


def failed(message: str, seconds: float = 0.0) -> Outcome:
    """Return the outcome of a trial that brought no score."""
    return Outcome(
        status=FAILED,
        message=message,
        seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True)
class Trial(Outcome):
    """One point of a search, and what became of it.

    `created` and `ended` number all events of the sweep, so that their order is known again even
    where one file is damaged. A trial whose file is damaged has neither: it is lost.
    """

    name: str
    """The number of the trial, padded with zeros: the name of its folder."""
    values: Mapping[str, Any] = field(default_factory=dict)
    until: int | None = None
    promoted_from: str | None = None
    created: int | None = None
    ended: int | None = None

    @property
    def is_damaged(self) -> bool:
        """Whether its file could not be read, so that nothing is known but the name."""
        return self.created is None

    def active_values(self, space: Space) -> dict[str, Any]:
        """Return the values of the ranges that were searched; null may be one of them."""
        active: dict[str, Any] = {}
        for searched in space:
            if searched.name in self.values and searched.is_active(active):
                active[searched.name] = self.values[searched.name]
        return active

    @property
    def proposal(self) -> Proposal:
        """The point of the space."""
        return Proposal(
            trial=self.name,
            values=self.values,
            until=self.until,
            promoted_from=self.promoted_from,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record for JSON; a trial that has not ended has no outcome yet."""
        record = {"schema": SCHEMA, **self.proposal.to_dict(), "status": self.status}
        record["created"] = self.created
        if self.ended is not None:
            record |= self.outcome_dict()
            record["ended"] = self.ended
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Trial":
        """Return the trial of a record, also of one in the form without a schema.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: the record is damaged.
        """
        ended = None
        if "ended" in record:
            ended = _event_number(record["ended"])
            _check_score(record["score"])
        until = record.get("until")
        promoted_from = record.get("goes_on_from")
        return cls(
            **_outcome_fields(record),
            name=str(record["trial"]),
            values=dict(record["values"].items()),
            until=None if until is None else int(until),
            promoted_from=None if promoted_from is None else str(promoted_from),
            created=_event_number(record["created"]),
            ended=ended,
        )

    @classmethod
    def lost(cls, name: str) -> "Trial":
        """Return the trial of a record that cannot be read."""
        return cls(
            name=name,
            status=LOST,
            message=UNREADABLE,
        )


def _outcome_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    status = values["status"]
    if status not in STATUSES:
        raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
    weights = values.get("weights")
    message = values.get("message")
    return {
        "status": status,
        "score": finite_or_none(values.get("score")),
        "scores": tuple(float(score) for score in values.get("scores") or ()),
        "spread": finite_or_none(values.get("spread")),
        "epochs": tuple(int(epoch) for epoch in values.get("epochs") or ()),
        "weights": None if weights is None else int(weights),
        "seconds": finite_or_none(values.get("seconds")) or 0.0,
        "message": None if message is None else str(message),
    }


def _event_number(value: Any) -> int:
    if type(value) is not int or value <= 0:
        raise ValueError(f"an event's number is a whole number above 0, got {value!r}")
    return value


def _check_score(value: Any) -> None:
    if type(value) not in (int, float, type(None)):
        raise ValueError(f"a score is a number or null, got {value!r}")


def finite_or_none(value: Any) -> float | None:
    """Return a value as a finite number, None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, kw_only=True)
class Event:
    """A trial was created, or ended with a score; without one it failed.

    `values` are those of a trial that was created, None where its file is damaged.
    """

    number: int
    trial: str
    is_end: bool = False
    values: Mapping[str, Any] | None = None
    score: float | None = None


def events_of(trials: Iterable[Trial]) -> list[Event]:
    """Return all events of a sweep in their order.

    A trial whose file is damaged counts as failed. Its two events take numbers that no other trial
    has: it was created when it was the turn of its name, and ended at the next gap.
    """
    known: dict[int, Event] = {}
    damaged: list[str] = []
    for trial in trials:
        if trial.created is None:
            damaged.append(trial.name)
            continue
        number = trial.created
        known[number] = Event(
            number=number,
            trial=trial.name,
            values=trial.values,
        )
        if trial.ended is not None:
            number = trial.ended
            known[number] = Event(
                number=number,
                trial=trial.name,
                is_end=True,
                score=trial.score,
            )
    latest = max(known, default=0)
    events: list[Event] = []
    open_trials: list[str] = []
    created = 0
    number = 0
    while number < latest or damaged or open_trials:
        number += 1
        event = known.get(number)
        if event is None and damaged and (int(damaged[0]) == created or number > latest):
            name = damaged.pop(0)
            open_trials.append(name)
            event = Event(number=number, trial=name)
        elif event is None and open_trials:
            event = Event(
                number=number,
                trial=open_trials.pop(0),
                is_end=True,
            )
        if event is not None:
            created += not event.is_end
            events.append(event)
    return events
