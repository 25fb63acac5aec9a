"""Global gain: SGD with one gain, which follows the angle between successive gradients."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras import ops

from epochal.app.training.optimizers.adaptive_gain import check_gains
from epochal.app.training.optimizers.sgd import SGD


class GlobalGain(SGD):
    """Raises the rate while the gradient keeps its direction, lowers it when weights oscillate.

    The gradient, summed over all replicas, is multiplied by the gain before `SGD` goes on. The gain
    is 1 at first, and moves within `limits`: by the factor `up` when the gradient has the direction
    of the step before's, by `down` when it has the opposite one, in between with the cosine of the
    angle. This is hypergradient descent (Baydin et al. 2018, arXiv:1703.04782), normalised and
    multiplied, but quicker down than up, as `AdaptiveGain` is: at one speed for both the gain
    overshoots in a canyon.

    Raises:
        ValueError: factors that are not on their side of 1, or limits not around 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        *,
        up: float = 1.05,
        down: float = 0.7,
        limits: tuple[float, float] = (0.01, 100.0),
        **options: Any,
    ):
        super().__init__(learning_rate, momentum, **options)
        check_gains(up, down, limits)
        self.up = up
        self.down = down
        self.limits = tuple(limits)

    def build(self, variables: list[Any]) -> None:
        """Make the gain and room for the gradient of the step before."""
        if self.built:
            return
        super().build(variables)
        self._before = self.add_optimizer_variables(variables, "gradient_before")
        # Every replica comes to the same gain.
        options = {"dtype": variables[0].dtype, "aggregation": "only_first_replica"}
        self._gain = self.add_variable(
            (),
            initializer="ones",
            name="gain",
            **options,
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, and remembers its gradient, whose scale the cosine does not feel."""
        index = self._get_variable_index(variable)
        self.assign(self._before[index], gradient)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Return Keras' configuration, the factors and the limits."""
        return {
            **super().get_config(),
            "up": self.up,
            "down": self.down,
            "limits": list(self.limits),
        }

    def _all_reduce_sum_gradients(self, pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Move the gain; this is where Keras has all gradients together and summed."""
        summed = super()._all_reduce_sum_gradients(pairs)
        present = []
        for gradient, variable in summed:
            if gradient is not None:
                present.append((gradient, variable))
        cosine = self._cosine(present)
        rise = (self.up - 1) * ops.maximum(cosine, 0)
        fall = (1 - self.down) * ops.minimum(cosine, 0)
        least, most = self.limits
        gain = self._gain * (1 + rise + fall)
        self._gain.assign(ops.clip(gain, least, most))
        gain = ops.convert_to_tensor(self._gain)
        multiplied: list[tuple[Any, Any]] = []
        for gradient, variable in summed:
            if gradient is not None:
                gradient = gradient * ops.cast(gain, gradient.dtype)
            multiplied.append((gradient, variable))
        return multiplied

    def _cosine(self, pairs: Sequence[tuple[Any, Any]]) -> Any:
        """Return the cosine between this gradient and the one before; 0 at the first step."""
        dtype = self._gain.dtype
        now = []
        before = []
        for gradient, variable in pairs:
            index = self._get_variable_index(variable)
            now.append(ops.cast(gradient, dtype))
            before.append(ops.cast(self._before[index], dtype))
        length_now = ops.sqrt(_inner_product(now, now))
        length_before = ops.sqrt(_inner_product(before, before))
        lengths = length_now * length_before
        return ops.divide_no_nan(_inner_product(now, before), lengths)


def _inner_product(left: Sequence[Any], right: Sequence[Any]) -> Any:
    total: Any = 0
    for left_part, right_part in zip(left, right, strict=True):
        total = total + ops.sum(left_part * right_part)
    return total
