"""A process on JAX: builds a model, lets it answer and take a training step.

KERAS_BACKEND=jax python -m tests.support.jax_child FOLDER NAME

writes FOLDER/NAME.npz: the answers before the step, its loss, and the words in which callbacks
refuse that need TensorFlow.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from epochal import callbacks
from tests.support.zoo import build, images, shapes


def random_weights(model: keras.Model) -> None:
    """Give the model values that do not depend on the backend's generator."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) > 1:
            fan_in = max(1, int(np.prod(weight.shape[:-1])))
            weight.assign(random.normal(0, fan_in**-0.5, weight.shape))
        else:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))


def main(folder: Path, name: str) -> None:
    """Write the model's file."""
    assert keras.backend.backend() == "jax"
    shape = shapes(name)[0]
    model = build(name, shape)
    random_weights(model)
    answers = keras.ops.convert_to_numpy(model(images(shape)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    data = (images(shape), np.arange(4))
    watching = [*observers(folder, data), callbacks.WeightHistograms(folder / name)]
    history = model.fit(*data, validation_data=data, batch_size=4, verbose=0, callbacks=watching)
    refusing = [
        callbacks.GradientClipping(1.0),
        callbacks.Freezing("kernel"),
        callbacks.WeightHistograms(folder, batch=data),
        callbacks.NanGuard(keep_state=True),
        callbacks.GradientFlow(folder / "flow.jsonl", batch=data),
        callbacks.ExponentialMovingAverage(),
    ]
    np.savez(
        folder / f"{name}.npz",
        answers=answers,
        loss=history.history["loss"][0],
        refused=[refusal(model, callback) for callback in refusing],
    )


def refusal(model: keras.Model, callback: keras.callbacks.Callback) -> str:
    """Return the error of a callback that needs TensorFlow."""
    callback.set_model(model)
    try:
        callback.on_train_begin()
    except ValueError as error:
        return str(error)
    return ""


def observers(folder: Path, data: tuple[np.ndarray, np.ndarray]) -> list[keras.callbacks.Callback]:
    """Return every callback that is Keras code alone."""
    return [
        callbacks.Budget(3600),
        callbacks.NanGuard(),
        callbacks.EarlyStopping("val_loss", patience=1),
        callbacks.Progress(),
        callbacks.StepDecay(milestones=[1], factor=0.1),
        callbacks.RateSchedule(0.01, lambda step: 1.0),
        callbacks.PlateauDecay(patience=1),
        callbacks.StuckDecay(1, patience=1),
        callbacks.BestWeights(folder / "best", top=2),
        callbacks.ActivationMonitor(folder / "activations.jsonl", batch=data[0], validation=[data]),
        callbacks.Timing(folder / "timing.json"),
        callbacks.LossCurves(folder / "losses.png", log=folder / "iterations.jsonl"),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
