"""Devices: seeds, determinism and replicas, to be set before the first use of TensorFlow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.errors import UsageError


def prepare(config: Config) -> Any:
    """Configure TensorFlow for a run and return its MirroredStrategy, or None for one device.

    Without GPUs, `devices` replicas run on as many logical CPU devices: right results, no speed.

    Raises:
        UsageError: there are fewer GPUs than devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and len(gpus) < config.devices:
        raise UsageError(
            f"devices: {config.devices} asked for, this machine has {len(gpus)} GPU(s); "
            "give fewer --devices"
        )
    if config.devices > 1 and not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        replicas = [tf.config.LogicalDeviceConfiguration()] * config.devices
        tf.config.set_logical_device_configuration(cpu, replicas)
    # Names of variables then do not depend on what this process made before.
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    deterministic = config.deterministic
    if deterministic is None:
        deterministic = not gpus
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    if config.devices == 1:
        return None
    device_type = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy(
        [f"{device_type}:{number}" for number in range(config.devices)]
    )


@contextmanager
def scope(strategy: Any) -> Iterator[None]:
    """Enter the strategy's scope; None has none."""
    if strategy is None:
        yield
    else:
        with strategy.scope():
            yield
