"""Figures of an epoch: the energy among its logs, and its line in the run's log.txt."""

import keras

from epochal.app.process.log import RUN_LOG
from epochal.callbacks.parts.phase import Phase


class EpochLog(keras.callbacks.Callback):
    """Writes one line an epoch into the run's log.txt: all that was logged by then."""

    phase = Phase.RECORD

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write the line."""
        figures = [f"{name} {value:.6g}" for name, value in (logs or {}).items()]
        RUN_LOG.debug(f"epoch {epoch + 1}: {', '.join(figures)}")


class Energy(keras.callbacks.Callback):
    """Logs `energy`, the loss plus penalties, of the weights after the epoch, if there are any."""

    phase = Phase.RECORD

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the figure to the logs."""
        penalties = self.model.losses
        if logs is not None and penalties:
            logs["energy"] = float(logs["loss"]) + sum(float(penalty) for penalty in penalties)
