"""Dropout whose mask belongs to the sample, not to the device that happens to hold it."""

from typing import Any

import keras
import tensorflow as tf

from epochal.models.layers.part_of_batch import current_part

# tf.random.Algorithm.PHILOX: the one generator with the same stream on every kind of device
PHILOX = 1
BLOCK = 4  # 32-bit numbers that one value of Philox' counter yields


@keras.saving.register_keras_serializable(package="epochal")
class PerSampleDropout(keras.layers.Layer):
    """Zeroes a share `rate` of the elements and divides the rest by `1 - rate`, in training only.

    Stock Keras draws the same mask on every replica of a MirroredStrategy, so that results depend
    on the number of devices. Here the mask is a function of (seed, number of the call, row in the
    global batch, element) alone: Philox (Salmon et al. 2011) is keyed by the seed, and row r of
    call n reads the counter values (n, r * k) up to (n, (r + 1) * k), where k is the number that
    one row needs. 1, 2 and 4 replicas then drop the same elements.

    Another backend than TensorFlow draws the masks of stock Keras, from the same variable.

    The seed and the call's number are a non-trainable variable of the layer, so that a checkpoint
    of `model.variables` goes on with the masks that an uninterrupted run would have drawn.

    Args:
        rate: share of the elements to drop, 0 <= rate < 1.
        seed: integer; None draws one from Python's generator, which
            `keras.utils.set_random_seed` sets.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {rate}.")
        self.rate = rate
        self.seed = seed
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the variable that holds the seed and the number of the next call."""
        if self.rate > 0:
            # a fixed name: Keras would number it by what else the process has built
            self.generator = keras.random.SeedGenerator(self.seed, name="generator")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return `inputs`, in training with elements dropped; counts the calls in training."""
        if not training or self.rate == 0:
            return inputs
        if keras.backend.backend() != "tensorflow":
            return keras.random.dropout(
                inputs,
                self.rate,
                noise_shape=self.draws_shape(inputs),
                seed=self.generator,
            )
        shape = tf.convert_to_tensor(self.draws_shape(inputs), tf.int64)
        part = current_part()
        if part is None or part.number == 0:
            seed_and_call = tf.convert_to_tensor(self.generator.next())
        else:
            # another part of the batch that the last call was about: its number is the last one
            seed_and_call = tf.convert_to_tensor(self.generator.state) - [0, 1]
        if part is None:
            first_row = first_global_row(shape[0])
        else:
            first_row = first_global_row(part.replica_rows) + part.first_row
        seed = seed_and_call[0]
        call = seed_and_call[1]
        uniform = rows_of_uniform(
            shape,
            seed=seed,
            call=call,
            first_row=first_row,
        )
        return tf.where(
            uniform >= self.rate,
            inputs / (1 - self.rate),
            tf.zeros_like(inputs),
        )

    def draws_shape(self, inputs: Any) -> Any:
        """Return the shape of what is drawn: one number an element."""
        if keras.backend.backend() == "tensorflow":
            return tf.shape(inputs, tf.int64)
        return inputs.shape

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        return {**config, "rate": self.rate, "seed": self.seed}


def rows_of_uniform(
    shape: tf.Tensor, *, seed: tf.Tensor, call: tf.Tensor, first_row: tf.Tensor
) -> tf.Tensor:
    """Return float32 numbers in [0, 1) of `shape`: some rows of an endless batch.

    Args:
        shape: int64 `[rank]`, rows first.
        seed, call: int64 scalars that select the stream.
        first_row: int64 scalar, the place of the first returned row in that batch.
    """
    elements = tf.reduce_prod(shape[1:])
    blocks = (elements + BLOCK - 1) // BLOCK
    numbers = tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.stack([shape[0], blocks * BLOCK]),
        key=tf.cast(seed[tf.newaxis], tf.uint64),
        counter=tf.cast(tf.stack([first_row * blocks, call]), tf.uint64),
        alg=PHILOX,
        dtype=tf.float32,
    )
    return tf.reshape(numbers[:, :elements], shape)


def first_global_row(replica_rows: tf.Tensor) -> tf.Tensor:
    """Return the place (int64) in the global batch at which this replica's rows begin.

    They stand behind those of replicas with lower ids.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.constant(0, tf.int64)
    replica = context.replica_id_in_sync_group
    replicas = context.num_replicas_in_sync
    # float32 because every collective carries it, NCCL's and the CPU's; exact up to 2**24 rows
    rows = tf.one_hot(replica, replicas) * tf.cast(replica_rows, tf.float32)
    rows_of_each = context.all_reduce(tf.distribute.ReduceOp.SUM, rows)
    return tf.cast(tf.math.cumsum(rows_of_each, exclusive=True)[replica], tf.int64)
