"""Preview of a training: its first images as the network will see them."""

from epochal.app.config import Config
from epochal.app.data.load import load
from epochal.app.data.previews import Preview, previews
from epochal.app.training.run.setup import training_batches, with_usual_batch_and_rate


def preview_training(config: Config, count: int) -> list[Preview]:
    """Return the first `count` images that a run of this configuration will train on.

    Raises:
        UsageError: the data cannot be had as configured.
    """
    dataset = load(config)
    config = with_usual_batch_and_rate(config, dataset)
    batches, _ = training_batches(config, dataset)
    return previews(batches, dataset.preprocessing.classes, count)
