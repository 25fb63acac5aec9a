"""Everything that training needs, made and checked before the first step; nothing is written here."""

from dataclasses import dataclass
from typing import Any

import keras

from app.config import Config
from app.data.dataset import Dataset
from app.data.load import augmentation_for, load
from app.data.pipeline import Position, TrainingBatches
from app.trained import build_model
from app.training.devices import prepare, scope
from app.training.optimizers import decay, make_optimizer
from app.training.steps import Classifier


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A compiled model and its data, ready for `fit`."""

    config: Config
    dataset: Dataset
    batches: TrainingBatches
    model: Classifier
    strategy: Any

    def identity(self) -> dict[str, Any]:
        """What a checkpoint and the run that resumes it must share."""
        return {"config": self.config.to_dict(), "data": self.dataset.fingerprint()}


def set_up(config: Config) -> Setup:
    """Reads the data and makes the model.

    Raises:
        UsageError: when data, model, optimizer or devices cannot be had as configured.
    """
    strategy = prepare(config)
    dataset = load(config)
    batches = TrainingBatches(
        split=dataset.train,
        batch_size=config.batch_size,
        augmentation=augmentation_for(config, dataset),
        seed=config.seed,
        position=Position(),
    )
    with scope(strategy):
        model = compiled(config, dataset)
    return Setup(config=config, dataset=dataset, batches=batches, model=model, strategy=strategy)


def compiled(config: Config, dataset: Dataset) -> Classifier:
    """The model with optimizer, weight decay and every variable made, so that a checkpoint can be put back."""
    net = build_model(config, dataset.preprocessing)
    model = Classifier(net.inputs, net.outputs, name=net.name)
    decay(model, config.optim.weight_decay)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=make_optimizer(config), loss=loss)
    model.optimizer.build(model.trainable_variables)
    return model
