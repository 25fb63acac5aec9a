"""A copy of the variables as they were when all of them were still finite."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from epochal.callbacks.parts.backend import require_built


class Kept(NamedTuple):
    """A model's variables before a step of an epoch (both from 0), in the order of `model.variables`, without metrics.

    A step that is the number of steps is what follows the last one: validation.
    """

    epoch: int
    step: int
    learning_rate: float
    values: list[np.ndarray]


class LastFinite:
    """Copies a model's variables before every step, unless one of them is not finite any more: then the copy stays.

    The copy is one tensor a dtype, made by one concatenation where the variables are, and the decision is taken there
    too: nothing is fetched. ResNet-20 on two CPU cores: 1.3 ms, 0.6 % of a step of batch 128.
    """

    def __init__(self, model: Any) -> None:
        require_built(model, "NanGuard(keep_state=True)")
        metrics = {id(variable) for variable in model.metrics_variables}
        self._variables = [variable for variable in model.variables if id(variable) not in metrics]
        self._kept: tuple[tf.Tensor, ...] | None = None
        self._advance: Any = None

    def keep(self, epoch: int, step: int, learning_rate: float) -> None:
        """Copies the variables if they are finite; the first time in any case."""
        place = tf.constant([epoch, step, learning_rate], tf.float64)
        if self._kept is None:
            self._kept = (place, *self._flat())
            self._advance = tf.function(self._chosen).get_concrete_function(place, self._kept)
        else:
            self._kept = self._advance(place, self._kept)

    def read(self) -> Kept | None:
        """Returns the copy; None before the first."""
        if self._kept is None:
            return None
        place, *flat = (tensor.numpy() for tensor in self._kept)
        rest = dict(zip(self._kinds(), flat, strict=True))
        values = []
        for variable in self._variables:
            size = int(np.prod(variable.shape))
            values.append(rest[variable.dtype][:size].reshape(variable.shape))
            rest[variable.dtype] = rest[variable.dtype][size:]
        return Kept(int(place[0]), int(place[1]), float(place[2]), values)

    def spoilt(self) -> list[str]:
        """Returns the paths of the variables that are not finite now."""
        return [v.path for v in self._variables if not np.isfinite(v.numpy()).all()]

    def _kinds(self) -> list[str]:
        return sorted({variable.dtype for variable in self._variables})

    def _flat(self) -> list[tf.Tensor]:
        """All variables of a dtype in one row, by dtype."""
        groups = [[v for v in self._variables if v.dtype == kind] for kind in self._kinds()]
        return [
            tf.concat([tf.reshape(tf.convert_to_tensor(v.value), [-1]) for v in group], 0)
            for group in groups
        ]

    def _chosen(self, place: tf.Tensor, kept: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        flat = self._flat()
        finite = [tf.reduce_all(tf.math.is_finite(row)) for row in flat if row.dtype.is_floating]
        return tf.cond(
            tf.reduce_all(tf.stack([True, *finite])), lambda: (place, *flat), lambda: kept
        )
