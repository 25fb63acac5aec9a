"""A second model with the first one's weights, to try things on."""

from dataclasses import replace
from typing import Any

import keras

from epochal import models
from epochal.app.process.dtype_policy import dtype_policy
from epochal.app.training.optimizers.penalties import WeightPenalty
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.classifier import Classifier


def twin(setup: Setup, dtype: str | None = None) -> Classifier:
    """The set-up's model again, its weights copied; drops nothing in training and has no weight penalty.

    Args:
        dtype: what all of it computes in (None: as the model does).
    """
    model = setup.model

    def again(layer: Any) -> Any:
        config = layer.get_config()
        config |= {"dtype": dtype} if dtype else {}
        config |= {"rate": 0.0} if drops(layer) else {}
        return type(layer).from_config(config)

    with models.deep_recursion(), dtype_policy(setup.config.precision):
        network = keras.Model(model.input, model.output, name=model.name)
        net = keras.models.clone_model(network, clone_function=again)
        copy = type(model)(
            net,
            objective=replace(model.objective, penalty=WeightPenalty()),
            micro_batches=model.micro_batches,
        )
    for mine, its in zip(copy.weights, model.weights, strict=True):
        mine.assign(its.numpy())
    return copy


def ready(copy: Classifier, optimizer: Any) -> Classifier:
    """The copy, compiled, with a train function."""
    copy.compile(
        optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    copy.optimizer.build(copy.trainable_variables)
    copy.make_train_function()
    return copy


def drops(layer: Any) -> bool:
    """Whether it is a dropout, Keras' or ours."""
    return "Dropout" in type(layer).__name__
