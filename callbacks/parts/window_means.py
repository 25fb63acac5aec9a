"""Means over windows of steps, from the running means that Keras logs.

Keras logs the mean of a figure over the epoch so far, and the model's tracker of the loss counts
the samples of it. Mean times samples is the sum over the epoch so far, and the difference of two
such sums is the sum over the steps between them. So a window's mean needs the logs where it begins
and where it ends, and no value of a step has to be fetched.

An epoch's sums begin at zero. A window that an epoch ends within has two parts: what its steps
added in earlier epochs (`_earlier`), and what they add in this one (from `_start` on, zero unless
the window began in this epoch).
"""

from collections.abc import Mapping, Sequence
from typing import Any

_SAMPLES = "samples"


class WindowMeans:
    """Means of logged figures over the samples since the last reading, across ends of epochs.

    Without a tracker of the loss, steps are weighed alike; where a `train_step` of the user's own
    moves none, a window has the figures of its last step.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.steps = 0  # since the last reading
        self._epoch_steps = 0
        self._epoch_samples = 0.0  # once they must be kept from validation; 0 before
        self._start = self._zeros()
        self._earlier = self._zeros()

    def count_step(self, batch: int, params: Mapping[str, Any] | None, model: Any) -> None:
        """Count the steps up to `batch` of the epoch: an execution may have made several."""
        epoch_steps = batch + 1
        last = (params or {}).get("steps")
        if last:
            # The last execution of an epoch may have fewer steps than the others: Keras counts on
            # regardless.
            epoch_steps = min(epoch_steps, last)
        self.steps += epoch_steps - self._epoch_steps
        self._epoch_steps = epoch_steps
        if epoch_steps == last:
            # For whoever evaluates before the epoch ends.
            self.keep_samples(model)

    def read(self, logs: Mapping[str, Any], model: Any) -> dict[str, float]:
        """Return the mean of each logged figure since the last reading, and begin a window.

        Raises:
            ValueError: no loss is logged.
        """
        if "loss" not in logs:
            raise ValueError(
                f"no loss is logged, but {sorted(logs)}: "
                "let train_step return one, or leave this out."
            )
        sums = self._epoch_sums(logs, model)
        window = self._window_sums(sums)
        self.steps = 0
        self._start = sums
        self._earlier = self._zeros()
        means = {}
        for name in self.names:
            if name not in logs:
                continue
            if window[_SAMPLES] > 0:
                means[name] = window[name] / window[_SAMPLES]
            else:
                # Somebody reset the metrics within the epoch, as an evaluation does: Keras' mean
                # begins there.
                means[name] = float(logs[name])
        return means

    def keep_samples(self, model: Any) -> None:
        """Keep the number of samples trained on, which validation is about to reset."""
        if not self._epoch_samples:
            self._epoch_samples = _count_samples(model) or 0.0

    def end_epoch(self, logs: Mapping[str, Any], model: Any) -> None:
        """Carry the unfinished window over: Keras' means begin anew."""
        self._earlier = self._window_sums(self._epoch_sums(logs, model))
        self._start = self._zeros()
        self._epoch_steps = 0
        self._epoch_samples = 0.0

    def get_state(self) -> dict[str, Any]:
        """Return the window so far."""
        return {
            "seen": self.steps,
            "steps": self._epoch_steps,
            "marks": dict(self._start),
            "carried": dict(self._earlier),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `get_state` returned.

        A state without samples, of an earlier version, begins a window.
        """
        if _SAMPLES in state["marks"]:
            self.steps = int(state["seen"])
            self._epoch_steps = int(state["steps"])
            self._start = dict(state["marks"])
            self._earlier = dict(state["carried"])

    def _zeros(self) -> dict[str, float]:
        return dict.fromkeys((*self.names, _SAMPLES), 0.0)

    def _epoch_sums(self, logs: Mapping[str, Any], model: Any) -> dict[str, float]:
        """Return the sum of each figure over the samples of the epoch so far, and their number."""
        samples = self._epoch_samples or _count_samples(model)
        if samples is None:
            samples = float(self._epoch_steps)
        sums = {}
        for name in self.names:
            mean = float(logs.get(name, 0.0))
            sums[name] = mean * samples
        sums[_SAMPLES] = samples
        return sums

    def _window_sums(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {name: self._earlier[name] + sums[name] - self._start[name] for name in sums}


def _count_samples(model: Any) -> float | None:
    """Return how many samples the model's mean of the loss is of; None if nothing counts them."""
    for metric in getattr(model, "metrics", ()):
        if metric.name == "loss" and hasattr(metric, "count"):
            return float(metric.count.numpy())
    return None
