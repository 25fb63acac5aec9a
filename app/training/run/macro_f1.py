"""Macro F1 of validation, a figure of every epoch."""

import keras
import numpy as np

from epochal.app.evaluation.metrics import macro_figures
from epochal.callbacks.parts.phase import Phase


class MacroF1(keras.callbacks.Callback):
    """Logs `val_macro_f1`, exactly over the images of all replicas, where an epoch was validated.

    It is computed of counts that `Classifier.test_step` adds up: no mean over batches or replicas
    would give it.
    """

    phase = Phase.MEASURE

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forget what was counted before."""
        self.model.class_counts.reset_state()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the figure to the logs."""
        if logs is None or "val_loss" not in logs:
            return
        counts = np.asarray(self.model.class_counts.result())
        hits, predicted, images = counts
        _, _, f1 = macro_figures(hits, predicted, images)
        logs["val_macro_f1"] = f1
