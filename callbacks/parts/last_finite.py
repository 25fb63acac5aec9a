"""A copy of a model's variables as they were when all of them were still finite."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from epochal.callbacks.parts.backend import require_built


class Kept(NamedTuple):
    """A model's variables before a step of an epoch (both from 0).

    The values are in the order of `model.variables`, without those of metrics. A step that is the
    number of steps is what follows the last one: validation.
    """

    epoch: int
    step: int
    learning_rate: float
    values: list[np.ndarray]


class LastFinite:
    """Copies a model's variables before every step, unless one of them is not finite any more.

    Then the copy stays.

    The copy is one tensor a dtype, made by one concatenation where the variables are, and the
    decision is taken there too: nothing is fetched. ResNet-20 on two CPU cores: 1.3 ms, 0.6 % of a
    step of batch 128.
    """

    def __init__(self, model: Any) -> None:
        require_built(model, "NanGuard(keep_state=True)")
        metrics = {id(variable) for variable in model.metrics_variables}
        self._variables: list[Any] = []
        self._by_dtype: dict[str, list[Any]] = {}
        for variable in model.variables:
            if id(variable) not in metrics:
                self._variables.append(variable)
                self._by_dtype.setdefault(variable.dtype, []).append(variable)
        # The place (epoch, step and learning rate), then the variables of each dtype in one row.
        self._copy: tuple[tf.Tensor, ...] | None = None
        self._advance: Any = None

    def keep(self, epoch: int, step: int, learning_rate: float) -> None:
        """Copy the variables if they are finite; the first time in any case."""
        place = tf.constant([epoch, step, learning_rate], tf.float64)
        if self._copy is None:
            self._copy = (place, *self._rows())
            choose = tf.function(self._choose)
            self._advance = choose.get_concrete_function(place, self._copy)
        else:
            self._copy = self._advance(place, self._copy)

    def read(self) -> Kept | None:
        """Return the copy; None before the first."""
        if self._copy is None:
            return None
        place = self._copy[0].numpy()
        values: dict[int, np.ndarray] = {}
        for row, variables in zip(
            self._copy[1:],
            self._by_dtype.values(),
            strict=True,
        ):
            array = row.numpy()
            begin = 0
            for variable in variables:
                end = begin + int(np.prod(variable.shape))
                part = array[begin:end]
                values[id(variable)] = part.reshape(variable.shape)
                begin = end
        return Kept(
            epoch=int(place[0]),
            step=int(place[1]),
            learning_rate=float(place[2]),
            values=[values[id(variable)] for variable in self._variables],
        )

    def spoilt(self) -> list[str]:
        """Return the paths of the variables that are not finite now."""
        paths = []
        for variable in self._variables:
            if not np.isfinite(variable.numpy()).all():
                paths.append(variable.path)
        return paths

    def _rows(self) -> list[tf.Tensor]:
        """Return all variables of a dtype in one row, by dtype."""
        rows = []
        for variables in self._by_dtype.values():
            parts = []
            for variable in variables:
                values = tf.convert_to_tensor(variable.value)
                parts.append(tf.reshape(values, [-1]))
            rows.append(tf.concat(parts, 0))
        return rows

    def _choose(self, place: tf.Tensor, copy: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        rows = self._rows()
        is_finite = tf.constant(True)
        for row in rows:
            if row.dtype.is_floating:
                is_row_finite = tf.reduce_all(tf.math.is_finite(row))
                is_finite = tf.logical_and(is_finite, is_row_finite)
        return tf.cond(is_finite, lambda: (place, *rows), lambda: copy)
