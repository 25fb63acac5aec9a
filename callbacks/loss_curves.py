"""The picture of a training: its losses over the iterations."""

import io
import json
from pathlib import Path
from time import monotonic
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.curves import curves_of
from epochal.callbacks.parts.files import write_whole
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.records import finite

_SHARE = 100  # times what drawing takes must pass before it is drawn again


class LossCurves(keras.callbacks.Callback):
    """Draws the losses that `TrainingLog` writes: each line's faint, their moving average and the validation's bold.

    Dotted lines mark where the learning rate dropped, a dashed one where the validation loss begins to rise for good.
    It draws when training ends, and before, after epochs, as often as costs one percent of the time. Stands behind the
    `TrainingLog`, whose lines are all that it keeps. The figures go into a JSON file of the same name beside the PNG,
    with null for what is not finite.

    Args:
        path: the PNG file.
        log: the `iterations.jsonl` of a `TrainingLog`.
        smoothing: the weight of the past in the moving average, from 0 to below 1; None: such that it spans a fiftieth
            of the log, and at least two and a half lines.

    Raises:
        ValueError: arguments out of range.
    """

    phase = Phase.RECORD

    def __init__(
        self, path: str | Path, *, log: str | Path, smoothing: float | None = None
    ) -> None:
        super().__init__()
        if smoothing is not None and not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1, got {smoothing}.")
        if Path(path).suffix != ".png":
            raise ValueError(f"path must end in .png, got {str(path)!r}.")
        self.path = Path(path)
        self.log = Path(log)
        self.smoothing = smoothing
        self._due = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets earlier fits."""
        self._due = monotonic() + _SHARE  # importing Matplotlib takes about a second

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Draws, if that is cheap by now."""
        began = monotonic()
        if began >= self._due:
            self._draw()
            self._due = monotonic() + _SHARE * (monotonic() - began)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Draws all of it."""
        self._draw()

    def _draw(self) -> None:
        from matplotlib.figure import Figure

        found = curves_of(self.log, self.smoothing)
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        _draw_losses(figure.add_subplot(), found)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=144)
        write_whole(self.path, picture.getvalue())
        write_whole(
            self.path.with_suffix(".json"), json.dumps(finite(found), allow_nan=False).encode()
        )


def _draw_losses(axes: Any, found: dict[str, Any]) -> None:
    iterations = found["iterations"]
    validation = found["validation"]
    if iterations:
        alone = "." if len(iterations) == 1 else ""  # of which a line would show nothing
        axes.plot(
            iterations,
            found["raw"],
            color="#d55e00",
            alpha=0.3,
            linewidth=0.8,
            label="training, raw",
        )
        axes.plot(
            iterations,
            found["smoothed"],
            color="#d55e00",
            linewidth=2,
            marker=alone,
            label="training, smoothed",
        )
    if validation["losses"]:
        axes.plot(
            *validation.values(), color="#0a68b4", linewidth=2, marker=".", label="validation"
        )
    for place, iteration in enumerate(found["drops"]):
        axes.axvline(
            iteration, color="0.4", linestyle=":", label=None if place else "learning rate drops"
        )
    if found["rises"]:
        word = f"validation rises after epoch {found['rises']['epoch']}"
        axes.axvline(found["rises"]["iteration"], color="#0a68b4", linestyle="--", label=word)
    shown = np.array([*found["smoothed"], *validation["losses"]], np.float64)
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() > 0 and shown.max() > 50 * shown.min():
        axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
