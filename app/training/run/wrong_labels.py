"""A warning when the losses of some training images look like those of wrong labels."""

import keras

from epochal.app.data.hard_examples import suspected
from epochal.app.process.log import RUN_LOG
from epochal.app.training.step.sample_losses import SampleLosses
from epochal.callbacks.parts.phase import Phase


class WrongLabels(keras.callbacks.Callback):
    """Warns once, when many images stay worse than a guess, apart from the others.

    Args:
        sample_losses: the average cross-entropy of each training image; it has taken in the epoch
            before this looks
        classes: number of them
        start: epochs before the averages are looked at
    """

    phase = Phase.RECORD

    def __init__(self, sample_losses: SampleLosses, *, classes: int, start: int) -> None:
        super().__init__()
        self._sample_losses = sample_losses
        self._classes = classes
        self._start = start
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the averages."""
        if self._warned or epoch + 1 < self._start:
            return
        share = suspected(self._sample_losses.averages, self._classes)
        if not share:
            return
        self._warned = True
        RUN_LOG.info(
            f"{share:.0%} of the training images stay worse than a guess, apart from the others: "
            "wrong labels? emphasis trains on these most; look at them, or leave them out with "
            f"--emphasis.trim {share:.2f}"
        )
