"""SGD whose update of a weight is one kernel."""

from typing import Any

import keras
import tensorflow as tf


class SGD(keras.optimizers.SGD):
    """Keras' `SGD` (same arguments, state and numbers) on TensorFlow's fused update.

    Keras computes the update from element-wise operations, each a pass over memory as large as the weights: 5 % of a
    training step of VGG-16 (`benchmarks/zoo_speed.py`'s networks, two cores, bfloat16).
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """`m = momentum * m - rate * g`, then `w += m`, or with Nesterov `w += momentum * m - rate * g`."""
        rate, gradient = tf.cast(learning_rate, variable.dtype), tf.convert_to_tensor(gradient, variable.dtype)
        if self.momentum == 0:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )
