"""Diagonal Newton steps: SGD whose weights each have the rate that their curvature asks for."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from epochal.app.training.optimizers.sgd import SGD


class DiagonalNewton(SGD):
    """Divides each weight's gradient by `abs(h) + damping`, h its curvature, then acts as `SGD`.

    So all weights converge at about the same speed, and the rate is a share of Newton's step: at 1,
    without damping and momentum, a quadratic whose weights do not interact is solved at once (LeCun
    et al. 1998, Efficient BackProp, section 9, whose damping this is). The curvatures are 1 until
    `take` brings others.

    Raises:
        ValueError: a damping below 0.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        *,
        damping: float = 0.02,
        **options: Any,
    ):
        super().__init__(learning_rate, momentum, **options)
        if not damping >= 0:
            raise ValueError(f"damping must be at least 0, got {damping}.")
        self.damping = damping

    def build(self, variables: list[Any]) -> None:
        """Make the curvatures."""
        if self.built:
            return
        super().build(variables)
        self._curvatures = self.add_optimizer_variables(
            variables,
            "curvature",
            initializer="ones",
        )

    def take(self, weights: Sequence[Any], curvatures: Sequence[Any]) -> None:
        """Remember the curvatures of weights, of the same shapes, for the updates to come."""
        for weight, curvature in zip(weights, curvatures, strict=True):
            index = self._get_variable_index(weight)
            self._curvatures[index].assign(curvature)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, and its momentum."""
        index = self._get_variable_index(variable)
        curvature = ops.abs(self._curvatures[index])
        gradient = gradient / (curvature + self.damping)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Return Keras' configuration and the damping."""
        return {**super().get_config(), "damping": self.damping}
