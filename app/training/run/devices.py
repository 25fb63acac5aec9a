"""Seeds, precision, determinism and replicas: everything about TensorFlow that must be set before its first use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.errors import UsageError


def prepare(config: Config) -> Any:
    """Configures TensorFlow for a run and returns its MirroredStrategy, or None for one device.

    Without GPUs, `devices` replicas run on as many logical CPU devices: right results, no speed.

    Raises:
        UsageError: when there are fewer GPUs than devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and len(gpus) < config.devices:
        raise UsageError(
            f"devices: {config.devices} asked for, this machine has {len(gpus)} GPU(s); give fewer --devices"
        )
    kind = "GPU" if gpus else "CPU"
    if config.devices > 1 and not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * config.devices
        )
    keras.utils.clear_session()  # names of variables then do not depend on what this process made before
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    if not gpus if config.deterministic is None else config.deterministic:
        tf.config.experimental.enable_op_determinism()
    if config.devices == 1:
        return None
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(config.devices)])


@contextmanager
def scope(strategy: Any) -> Iterator[None]:
    """The strategy's scope; nothing where there is none."""
    if strategy is None:
        yield
    else:
        with strategy.scope():
            yield
