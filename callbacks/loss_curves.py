"""A picture of the losses of a training over its iterations."""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from epochal.callbacks.parts.files import write_whole
from epochal.callbacks.parts.loss_figure import draw_losses
from epochal.callbacks.parts.loss_history import read_curves
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.records import finite

_SHARE = 100  # times what drawing takes must pass before it is drawn again


class LossCurves(keras.callbacks.Callback):
    """Draws the losses that `TrainingLog` writes.

    Those of its lines are faint, their moving average and the losses of validation bold.

    Dotted lines mark where the learning rate dropped, a dashed one where the validation loss begins
    to rise for good. It draws when training ends, and before, after epochs, as often as costs one
    percent of the time. Stands behind the `TrainingLog`, whose lines are all that it keeps. The
    figures go into a JSON file of the same name beside the PNG, with null for what is not finite.

    Args:
        path: the PNG file.
        log: the `iterations.jsonl` of a `TrainingLog`.
        smoothing: the weight of the past in the moving average, from 0 to below 1; None: such that
            it spans a fiftieth of the log, and at least two and a half lines.
        clock: returns the time in seconds; it never goes back.

    Raises:
        ValueError: arguments out of range.
    """

    phase = Phase.RECORD

    def __init__(
        self,
        path: str | Path,
        *,
        log: str | Path,
        smoothing: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        if smoothing is not None and not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1, got {smoothing}.")
        if Path(path).suffix != ".png":
            raise ValueError(f"path must end in .png, got {str(path)!r}.")
        self.path = Path(path)
        self.log = Path(log)
        self.smoothing = smoothing
        self._clock = clock
        self._due = 0.0  # time from which on it may be drawn

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self._due = self._clock() + _SHARE  # importing Matplotlib takes about a second

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Draw, if that is cheap by now."""
        began = self._clock()
        if began >= self._due:
            self._draw()
            ended = self._clock()
            self._due = ended + _SHARE * (ended - began)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Draw the whole training."""
        self._draw()

    def _draw(self) -> None:
        from matplotlib.figure import Figure

        curves = read_curves(self.log, self.smoothing)
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        draw_losses(figure.add_subplot(), curves)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=144)
        write_whole(self.path, picture.getvalue())
        text = json.dumps(finite(curves), allow_nan=False)
        write_whole(self.path.with_suffix(".json"), text.encode())
