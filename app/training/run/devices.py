"""Devices: seeds, determinism and replicas, to be set before the first use of TensorFlow."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
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
        try:
            tf.config.set_logical_device_configuration(cpu, replicas)
        except RuntimeError as error:
            raise UsageError(
                f"devices: {config.devices} asked for, but TensorFlow is in use in this process; "
                "train in a process of its own"
            ) from error
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
    return _strategy(device_type, config.devices)


@cache
def _strategy(device_type: str, count: int) -> Any:
    """Return the process's one strategy over so many devices.

    Each strategy numbers its reductions from the same number on, and TensorFlow remembers the
    shapes of an earlier one's: another network would fail.
    """
    return tf.distribute.MirroredStrategy([f"{device_type}:{number}" for number in range(count)])


@contextmanager
def scope(strategy: Any) -> Iterator[None]:
    """Enter the strategy's scope; None has none."""
    if strategy is None:
        yield
    else:
        with strategy.scope():
            yield
