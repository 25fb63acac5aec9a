"""LeCun's tanh, scaled so that targets of +-1 lie where it is not saturated."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="epochal")
def scaled_tanh(x: Any) -> Any:
    """Return `1.7159 tanh(2x / 3)`, which maps 1 to 1 and -1 to -1.

    LeCun et al. 1998, Efficient BackProp, section 4.4.
    """
    return 1.7159 * ops.tanh(x * (2 / 3))
