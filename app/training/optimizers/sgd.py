"""SGD with momentum in its three forms, each update one kernel."""

from typing import Any

import keras
import tensorflow as tf

FORMS = ("heavy_ball", "velocity", "averaging")


class SGD(keras.optimizers.SGD):
    """Keras' `SGD` (same arguments, state, numbers) on TensorFlow's fused updates, in three forms.

    Keras computes the update from element-wise operations, each a pass over memory as large as the
    weights: 8 % of a training step of VGG-16 (bfloat16, two cores, median of six interleaved blocks
        with either optimizer).

    The forms agree, up to the scale of the rate, while the rate is constant. When it falls,
    `heavy_ball` goes on with the old velocity for about 1 / (1 - momentum) steps, `velocity` does
    not.

    Args:
        form: with gradient g, momentum a and rate r:
            "heavy_ball" (Keras; Polyak 1964, Nesterov as in Sutskever et al. 2013): `m = a m - r g;
                w += m`; Nesterov:
            `w += a m - r g`.
            "velocity" (PyTorch): `v = g + a v; w -= r v`; Nesterov: `w -= r (g + a v)`.
            "averaging" (Rumelhart et al. 1986): heavy ball with the rate (1 - a) r, so that a
                plateau gains nothing.

    Raises:
        ValueError: an unknown form, or one that is not Keras' without momentum.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        *,
        form: str = "heavy_ball",
        **options: Any,
    ):
        super().__init__(learning_rate, momentum, **options)
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}.")
        if form != "heavy_ball" and not momentum:
            raise ValueError(f"form {form!r} needs a momentum above 0, got {momentum}.")
        self.form = form

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, and its momentum."""
        rate = tf.cast(learning_rate, variable.dtype)
        gradient = tf.convert_to_tensor(gradient, variable.dtype)
        if self.momentum == 0:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle,
                alpha=rate,
                delta=gradient,
            )
            return
        apply = tf.raw_ops.ResourceApplyKerasMomentum
        if self.form == "velocity":
            apply = tf.raw_ops.ResourceApplyMomentum
        if self.form == "averaging":
            rate = rate * (1 - self.momentum)
        momentum = self.momentums[self._get_variable_index(variable)]
        apply(
            var=variable.handle,
            accum=momentum.value.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self) -> dict[str, Any]:
        """Return Keras' configuration and the form."""
        return {**super().get_config(), "form": self.form}
