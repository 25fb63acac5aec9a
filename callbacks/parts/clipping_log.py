"""A callback that logs the figures of a `Clipper`, which the training step calls."""

from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.clipping import Clipper
from epochal.callbacks.parts.phase import Phase


class ClippingLog(keras.callbacks.Callback):
    """Logs `gradient_norm` and `clipped_steps` of an epoch, as `GradientClipping` describes them.

    Args:
        clipper: built already; the training step calls it.
    """

    phase = Phase.STEER
    key = "gradient_clipping"

    def __init__(self, clipper: Clipper) -> None:
        super().__init__()
        self.clipper = clipper

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self.clipper.reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the figures and clear them.

        Not when an epoch begins: a resumed run brings its own.
        """
        if logs is not None:
            logs.update(self.clipper.figures())
        self.clipper.clear_figures()

    def latest_norms(self) -> np.ndarray:
        """Return the norms of at most 100 steps, oldest first, before clipping: float32."""
        norms = self.clipper.latest.read()
        return norms[np.isfinite(norms)]

    def get_state(self) -> dict[str, Any]:
        """Return the sums of the epoch so far, and the latest norms."""
        return self.clipper.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self.clipper.set_state(state)
