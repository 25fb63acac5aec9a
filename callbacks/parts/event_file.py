"""A file of histograms, norms and scalars, as TensorBoard reads it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_BUCKETS = 30  # as many as tf.summary.histogram has


class EventFile:
    """An event file in `folder`, both made when the first values are written."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._writer: Any = None

    def write(self, step: int, arrays: dict[str, Iterable[tuple[str, np.ndarray]]]) -> None:
        """Write the histogram `weights/PATH` and the norm `weight_norm/PATH` for "weight", ..."""
        # tf.summary's functions do the same one eager operation after the other, and take 20 times
        # longer.
        summary = tf.compat.v1.Summary()
        for name, pairs in arrays.items():
            for path, array in pairs:
                values = array.astype(np.float64).ravel()
                norm = np.float32(np.linalg.norm(values))
                _add(
                    summary,
                    "histograms",
                    f"{name}s/{path}",
                    histogram(values),
                )
                _add(
                    summary,
                    "scalars",
                    f"{name}_norm/{path}",
                    norm,
                )
        self._put(step, summary)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write numbers by their names."""
        summary = tf.compat.v1.Summary()
        for name, value in scalars.items():
            _add(
                summary,
                "scalars",
                name,
                np.float32(value),
            )
        self._put(step, summary)

    def close(self) -> None:
        """End the file; what is written afterwards goes into another."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _put(self, step: int, summary: Any) -> None:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.folder)
        with self._writer.as_default(step=step):
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())
        self._writer.flush()


def histogram(values: np.ndarray) -> np.ndarray:
    """Return `[30, 3]`: left edge, right edge and count of buckets over the finite values."""
    finite = values[np.isfinite(values)]
    low = 0.0
    high = 1.0
    if finite.size:
        low = finite.min()
        high = finite.max()
    # NumPy refuses buckets narrower than a rounding.
    largest = max(abs(low), abs(high))
    if high - low <= 1e-12 * largest:
        low = low - 0.5
        high = high + 0.5
    counts, edges = np.histogram(finite, _BUCKETS, (low, high))
    left = edges[:-1]
    right = edges[1:]
    return np.stack([left, right, counts], axis=1)


def _add(summary: Any, plugin: str, tag: str, tensor: Any) -> None:
    value = summary.value.add(
        tag=tag,
        tensor=tf.make_tensor_proto(tensor),
    )
    value.metadata.plugin_data.plugin_name = plugin
