"""Means over the latest steps, read off the running means that Keras keeps of an epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

_SAMPLES = "samples"


class Windows:
    """The mean of figures over the samples since they were last read, across the ends of epochs.

    Keras reports a figure's mean over the epoch so far, and the model's tracker of the loss counts its samples. How a
    window moved both tells the window's own mean: no step's value has to be fetched. Without a tracker, steps are
    weighed alike; where a `train_step` of the user's own moves none, a window has the figures of its last step.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.seen = 0  # steps since the last reading
        self._steps = 0  # of the epoch
        self._trained = 0.0  # samples of the epoch, if validation counts its own by now
        self._marks = self._nothing()  # sums over the epoch's samples before the last reading
        self._carried = self._nothing()  # sums of this window in earlier epochs

    def step(self, batch: int, params: Mapping[str, Any] | None, model: Any) -> None:
        """Notes that a batch of the epoch is done."""
        # Where an execution has several steps, an epoch's last may have fewer: Keras counts on regardless.
        steps = (params or {}).get("steps") or batch + 2
        done = min(batch + 1, steps)
        self.seen = self.seen + done - self._steps
        self._steps = done
        if done == steps:
            self.begin_test(model)  # whoever evaluates before the epoch ends

    def read(self, logs: Mapping[str, Any], model: Any) -> dict[str, float]:
        """Returns the mean since the last reading of each figure that is logged, and begins the next window."""
        if "loss" not in logs:
            raise ValueError(
                f"no loss is logged, but {sorted(logs)}: let train_step return one, or leave this out."
            )
        sums = self._sums(logs, model)
        window = {name: self._carried[name] + sums[name] - self._marks[name] for name in sums}
        self.seen, self._marks, self._carried = 0, sums, self._nothing()
        samples = window[_SAMPLES]
        found = [name for name in self.names if name in logs]
        # Not above 0 where somebody reset the metrics within the epoch, as an evaluation does: its mean begins there.
        return {
            name: window[name] / samples if samples > 0 else float(logs[name]) for name in found
        }

    def begin_test(self, model: Any) -> None:
        """Keeps the number of samples trained, which validation is about to reset."""
        self._trained = self._trained or _samples(model) or 0.0

    def end_epoch(self, logs: Mapping[str, Any], model: Any) -> None:
        """Carries the unfinished window over: the means begin anew."""
        sums = self._sums(logs, model)
        self._carried = {
            name: self._carried[name] + sums[name] - self._marks[name] for name in sums
        }
        self._steps, self._trained, self._marks = 0, 0.0, self._nothing()

    def get_state(self) -> dict[str, Any]:
        """Returns the window so far."""
        return {
            "seen": self.seen,
            "steps": self._steps,
            "marks": dict(self._marks),
            "carried": dict(self._carried),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes over what `get_state` returned; one without samples, of an earlier version, begins a window."""
        if _SAMPLES in state["marks"]:
            self.seen = int(state["seen"])
            self._steps = int(state["steps"])
            self._marks = dict(state["marks"])
            self._carried = dict(state["carried"])

    def _nothing(self) -> dict[str, float]:
        return dict.fromkeys((*self.names, _SAMPLES), 0.0)

    def _sums(self, logs: Mapping[str, Any], model: Any) -> dict[str, float]:
        counted = self._trained or _samples(model)
        samples = float(self._steps) if counted is None else counted
        return {name: float(logs.get(name, 0.0)) * samples for name in self.names} | {
            _SAMPLES: samples
        }


def _samples(model: Any) -> float | None:
    """How many samples the model's running mean of the loss is of; None where nothing of it counts them."""
    for metric in getattr(model, "metrics", ()):
        if metric.name == "loss" and hasattr(metric, "count"):
            return float(metric.count.numpy())
    return None
