"""Copies of a model with its weights, to try things on."""

from dataclasses import replace
from typing import Any

import keras

from epochal import models
from epochal.app.process.dtype_policy import dtype_policy
from epochal.app.training.optimizers.penalties import WeightPenalty
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.classifier import Classifier


def copy_model(setup: Setup, dtype: str | None = None) -> Classifier:
    """Return a copy of the setup's model that drops nothing in training and penalises no weight.

    Args:
        setup: whose model is copied
        dtype: that all of the copy computes in (None: as the model does)
    """
    model = setup.model

    def copy_layer(layer: Any) -> Any:
        config = layer.get_config()
        if dtype is not None:
            config["dtype"] = dtype
        if is_dropout(layer):
            config["rate"] = 0.0
        return type(layer).from_config(config)

    with models.deep_recursion(), dtype_policy(setup.config.precision):
        network = keras.Model(model.input, model.output, name=model.name)
        copied_network = keras.models.clone_model(network, clone_function=copy_layer)
        copy = type(model)(
            copied_network,
            objective=replace(model.objective, penalty=WeightPenalty(), full_batch=None),
            micro_batches=model.micro_batches,
        )
    for target, source in zip(copy.weights, model.weights, strict=True):
        target.assign(source.numpy())
    return copy


def compile_copy(copy: Classifier, optimizer: Any) -> Classifier:
    """Compile a copy, make its train function, and return it."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    copy.compile(optimizer=optimizer, loss=loss)
    copy.optimizer.build(copy.trainable_variables)
    copy.make_train_function()
    return copy


def is_dropout(layer: Any) -> bool:
    """Tell whether a layer is a dropout, Keras' or one of `models/layers`."""
    return any("Dropout" in layer_class.__name__ for layer_class in type(layer).__mro__)
