"""A sweep's folder: one file a trial, whole or as it was; from them a stopped sweep is known again."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.app.store import files as storage

_FILE = "trial.json"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something the oracle was asked (no score: a trial was made) or told (a score, or that it failed).

    `values` are those of a trial that was made, None where its file is damaged.
    """

    number: int
    trial: str
    values: dict[str, Any] | None = None
    score: float | None = None
    failed: bool = False


class Records:
    """The trials of one sweep, in `folder`/trials/ID/trial.json.

    `created` and `ended` in each number all events of the sweep, so that their order is known again even where one
    file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trials"

    def place(self, trial: str) -> Path:
        """The folder of a trial."""
        return self.folder / trial

    def all(self) -> dict[str, dict[str, Any] | None]:
        """What is known of every trial by its number; None where the file is damaged."""
        begun = [place for place in sorted(self.folder.glob("*")) if _is_trial(place)]
        return {place.name: self._read(place) for place in begun}

    def created(self, asked: dict[str, Any]) -> None:
        """Notes that a trial was handed out for the first time; `asked` names it and has its values."""
        self._write(asked["trial"], {**asked, "status": "running", "created": self._next()})

    def ended(self, trial: str, report: dict[str, Any]) -> None:
        """Notes how a trial ended; `report` has at least its status and score."""
        self._write(
            trial,
            {
                **(self._read(self.place(trial)) or {"trial": trial}),
                **report,
                "ended": self._next(),
            },
        )

    def lost(self, events: Sequence[Event], values: dict[str, Any]) -> None:
        """Notes that a trial's file was damaged, so that the next resume knows it, too."""
        created, ended = (event.number for event in events)
        more = {
            "status": "lost",
            "score": None,
            "message": "its file was damaged",
            "created": created,
            "ended": ended,
        }
        self._write(events[0].trial, {"trial": events[0].trial, "values": values, **more})

    def events(self, warn: Callable[[str], None]) -> list[Event]:
        """What happened, in its order. A damaged trial counts as failed, at the places that are left."""
        known = self.all()
        places: dict[int, Event] = {}
        for trial, record in known.items():
            if record is None:
                continue
            number = record["created"]
            places[number] = Event(number=number, trial=trial, values=record["values"])
            if "ended" in record:
                number = record["ended"]
                score = record["score"]
                places[number] = Event(
                    number=number, trial=trial, score=score, failed=score is None
                )
        lost = [trial for trial, record in known.items() if record is None]
        for trial in lost:
            warn(
                f"{self.place(trial)}/{_FILE} is damaged: trial {trial} is lost, the others are kept"
            )
        return list(_filled(places, lost))

    def _next(self) -> int:
        numbers = [
            n
            for record in self.all().values()
            if record
            for n in (record["created"], record.get("ended", 0))
        ]
        return max(numbers, default=0) + 1

    def _read(self, place: Path) -> dict[str, Any] | None:
        try:
            record = json.loads((place / _FILE).read_bytes())
        except (OSError, ValueError):
            return None
        return record if _is_record(record) and record.get("trial") == place.name else None

    def _write(self, trial: str, record: dict[str, Any]) -> None:
        self.place(trial).mkdir(parents=True, exist_ok=True)
        storage.write_json(
            self.place(trial) / _FILE, {**record, "written": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        )


def _is_trial(place: Path) -> bool:
    """Whether a folder has a trial's number for its name and a file or run of one; others are none of the sweep's."""
    numbered = place.name.isascii() and place.name.isdigit()
    return numbered and ((place / _FILE).exists() or any(place.glob("split-*")))


def _is_record(record: Any) -> bool:
    """Whether a trial's file holds what `Records` wrote there."""
    if not isinstance(record, dict) or not isinstance(record.get("values"), dict):
        return False
    numbers = [record.get("created"), *([record["ended"]] if "ended" in record else [])]
    return (
        all(type(number) is int and number > 0 for number in numbers)
        and isinstance(record.get("status"), str)
        and ("score" in record or "ended" not in record)
        and type(record.get("score")) in (int, float, type(None))
    )


def _filled(places: dict[int, Event], lost: list[str]) -> Iterator[Event]:
    """The events in their order; in gaps, lost trials begin when it is their number's turn, and fail."""
    waiting = list(lost)
    made = 0
    number = 0
    going: list[str] = []
    while number < max(places, default=0) or waiting or going:
        number += 1
        event = places.get(number)
        if (
            event is None
            and waiting
            and (int(waiting[0]) == made or number > max(places, default=0))
        ):
            going.append(waiting.pop(0))
            event = Event(number=number, trial=going[-1])
        elif event is None and going:
            event = Event(number=number, trial=going.pop(0), failed=True)
        if event is not None:
            made += event.score is None and not event.failed
            yield event
