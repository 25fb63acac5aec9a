"""Weights that are not trained, for good or until it is their turn."""

from typing import Any

import keras

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.failure import undo_by_next_fit, undone
from epochal.callbacks.parts.frozen import freeze, frozen_in, frozen_parts
from epochal.callbacks.parts.phase import Phase


class Freezing(keras.callbacks.Callback):
    """Leaves the weights alone whose path, such as `stem_conv/kernel`, a regular expression finds; then thaws them.

    A layer all of whose trainable weights are frozen is not trainable: batch norm there uses its moving statistics and
    leaves them as they are. Dropout goes on: it is noise for what learns above. Below the lowest weight that is trained
    no gradient is computed. The optimizer has momenta of frozen weights, too, which wait. What was trainable before is
    so again when training ends, or the next fit begins if an exception ended this one.

    With `every`, the topmost frozen layer joins after each so many epochs, as in ULMFiT (Howard and Ruder 2018,
    arXiv:1801.06146, section 3.3). A layer here is one with a kernel, and what normalises its output. What is frozen
    follows from the epoch alone, so that a resumed training needs no state.

    Args:
        pattern: the regular expression, searched for in every path.
        every: epochs until the first frozen layer is trained, and from each one to the next; None: they never are.

    Raises:
        ValueError: `every` below 1, or (when training begins) a pattern that finds nothing, or all that is trained, an
            optimizer with `use_ema`, or a model without its weights.
    """

    phase = Phase.STEER

    def __init__(self, pattern: str, *, every: int | None = None) -> None:
        super().__init__()
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1 epoch, got {every}.")
        self.pattern = pattern
        self.every = every
        self._parts: list[
            list[Any]
        ] = []  # the frozen weights of each layer with a kernel, from the lowest up
        self._frozen: list[Any] | None = None  # those of them that are frozen now
        self._found: tuple[Any, list[tuple[Any, bool]]] | None = (
            None  # the model, what was trainable in it before
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the weights."""
        require_tensorflow("Freezing", "set trainable of the layers before compiling instead")
        self._release()
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if optimizer.use_ema:  # which Keras puts into the weights one by one as they come
            raise ValueError(
                "Freezing cannot go with use_ema of the optimizer: use ExponentialMovingAverage."
            )
        layers = self.model._flatten_layers(include_self=False)
        self._parts = frozen_parts(self.model, self.pattern)
        self._found = (
            self.model,
            [(member, member.trainable) for member in (*layers, *self.model.weights)],
        )
        undo_by_next_fit(self, self._release)
        if not self.model.optimizer.built:
            with self.model.distribute_strategy.scope():
                self.model.optimizer.build(self.model.trainable_variables)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Freezes what is not to be trained yet."""
        frozen = frozen_in(epoch, self._parts, self.every)
        if self._frozen is None or len(frozen) != len(self._frozen):
            self._frozen = frozen
            self._unfreeze()
            freeze(self.model, frozen)
            self.model.make_train_function(force=True)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Makes everything trainable that was so before."""
        self._release()

    def _unfreeze(self) -> None:
        for member, trainable in self._found[1] if self._found else []:
            member.trainable = trainable  # layers first: they set those of their weights, too

    def _release(self) -> None:
        if self._found is not None:
            self._unfreeze()
            self._found[0].train_function = None
            undone(self._found[0], self._release)
        self._found = self._frozen = None
