"""Reads TensorBoard's event files."""

import pathlib

import tensorflow as tf
from tensorboard.compat.proto import event_pb2


def values(folder):
    """Yields (step, plugin, tag, array) of every summary under `folder`."""
    for file in sorted(pathlib.Path(folder).glob("*tfevents*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                yield event.step, plugin, value.tag, tf.make_ndarray(value.tensor)


def scalars(folder):
    """Returns (step, tag, number) of every scalar under `folder`."""
    return [
        (step, tag, float(value))
        for step, plugin, tag, value in values(folder)
        if plugin == "scalars"
    ]
