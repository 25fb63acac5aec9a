"""Frozen weights: not trained for good, or until it is their turn."""

from typing import Any

import keras

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.cleanup import call_by_next_fit, cancel
from epochal.callbacks.parts.every import require_at_least_one
from epochal.callbacks.parts.frozen import freeze, frozen_in, frozen_parts
from epochal.callbacks.parts.phase import Phase


class Freezing(keras.callbacks.Callback):
    """Freezes the weights whose path a regular expression finds, and may thaw them layer by layer.

    A path is, for instance, `stem_conv/kernel`.

    A layer all of whose trainable weights are frozen is not trainable: batch norm there uses its
    moving statistics and leaves them as they are. Dropout goes on: it is noise for what learns
    above. Below the lowest weight that is trained no gradient is computed. The optimizer has
    momenta of frozen weights, too, which wait. What was trainable before is so again when training
    ends, or the next fit begins if an exception ended this one.

    With `every`, the topmost frozen layer joins after each so many epochs, as in ULMFiT (Howard and
    Ruder 2018, arXiv:1801.06146, section 3.3). A layer here is one with a kernel, and what
    normalises its output. What is frozen follows from the epoch alone, so that a resumed training
    needs no state.

    Args:
        pattern: the regular expression, searched for in every path.
        every: epochs until the first frozen layer is trained, and from each one to the next; None:
            they never are.

    Raises:
        ValueError: `every` below 1, or (when training begins) a pattern that finds nothing, or all
            that is trained, an optimizer with `use_ema`, or a model without its weights.
    """

    phase = Phase.STEER

    def __init__(self, pattern: str, *, every: int | None = None) -> None:
        super().__init__()
        if every is not None:
            require_at_least_one("every", every, "epoch")
        self.pattern = pattern
        self.every = every
        self._parts: list[list[Any]] = []  # weights to freeze, by layer, from the lowest up
        self._frozen: list[Any] | None = None  # those of them that are frozen now
        self._frozen_model: Any = None  # while something is frozen in it
        self._trainable_before: list[tuple[Any, bool]] = []  # of its layers and weights

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Find the weights."""
        require_tensorflow("Freezing", "set trainable of the layers before compiling instead")
        self._release()
        model = self.model
        optimizer = getattr(
            model.optimizer,
            "inner_optimizer",
            model.optimizer,
        )
        # Keras puts the averages of use_ema into the weights one by one as they come, the wrong
        # ones if some are frozen.
        if optimizer.use_ema:
            raise ValueError(
                "Freezing cannot go with use_ema of the optimizer: use ExponentialMovingAverage."
            )
        self._parts = frozen_parts(model, self.pattern)
        self._frozen_model = model
        # Layers first: setting theirs sets those of their weights, too.
        members = [*model._flatten_layers(include_self=False), *model.weights]
        self._trainable_before = [(member, member.trainable) for member in members]
        call_by_next_fit(self, self._release)
        if not model.optimizer.built:
            with model.distribute_strategy.scope():
                model.optimizer.build(model.trainable_variables)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Freeze what is not to be trained yet."""
        frozen = frozen_in(epoch, self._parts, self.every)
        is_changed = self._frozen is None or len(frozen) != len(self._frozen)
        if is_changed:
            self._frozen = frozen
            self._unfreeze()
            freeze(self.model, frozen)
            self.model.make_train_function(force=True)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Make everything trainable that was so before."""
        self._release()

    def _unfreeze(self) -> None:
        for member, trainable in self._trainable_before:
            member.trainable = trainable

    def _release(self) -> None:
        if self._frozen_model is not None:
            self._unfreeze()
            self._frozen_model.train_function = None
            cancel(self._frozen_model, self._release)
        self._frozen_model = None
        self._trainable_before = []
        self._frozen = None
