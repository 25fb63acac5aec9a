"""The callbacks of a run that watch and steer, ahead of those that keep and save."""

from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal import callbacks
from epochal.app.config import Optim
from epochal.app.data.dataset import Split
from epochal.app.data.hard_examples import suspected
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.process.log import RUN_LOG
from epochal.app.store.run import Run
from epochal.app.training.optimizers.curvature_rates import CurvatureRates
from epochal.app.training.optimizers.diagonal_newton import DiagonalNewton
from epochal.app.training.run.setup import Setup
from epochal.app.training.run.thawing import Thawing
from epochal.app.training.step.learning_rate import rate_callbacks

_PROBED_IMAGES = 64  # on which gradients and activations are looked at after an epoch
_CURVATURE_BATCHES = 8  # of so many images


def observers(setup: Setup, run: Run, budget: Any) -> list[Any]:
    """The callbacks that come before those that keep and save.

    Args:
        budget: the first of them, or None.
    """
    config = setup.config
    batch = _probe(setup)
    clipper = clipping(setup.config.optim)
    average = config.optim.ema
    keep = config.stopping.keep
    best = callbacks.BestWeights(
        run.folder / "best_weights", config.stopping.monitor, top=keep or 1
    )
    return [
        *([budget] if budget else []),
        *rate_callbacks(config, setup.batches.steps, budget and budget.share),
        *by_epoch(setup),
        *([Thawing(config.optim)] if config.optim.frozen is not None else []),
        clipper,
        *([callbacks.ExponentialMovingAverage(average)] if average else []),
        *([best] if keep else []),
        callbacks.NanGuard(keep_state=True),
        *emphasis(setup),  # learns of good epochs alone
        callbacks.WeightHistograms(run.folder / "tensorboard", batch=batch),
        callbacks.GradientFlow(
            run.folder / "gradient_flow.jsonl", batch=batch, norms=clipper.latest_norms
        ),
        callbacks.TrainingLog(run.folder),
        callbacks.LossCurves(run.folder / "losses.png", log=run.folder / "iterations.jsonl"),
        callbacks.Progress(images_per_epoch=len(setup.dataset.train)),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: RUN_LOG.debug(_line(epoch, logs))
        ),
        keras.callbacks.LambdaCallback(on_epoch_end=partial(_add_energy, setup.model)),
    ]


def emphasis(setup: Setup) -> list[Any]:
    """What finds the images' losses, and warns once where they look like those of wrong labels (row A7)."""
    losses = setup.model.sample_losses
    settings = setup.config.emphasis
    told: list[float] = []
    if losses is None or settings.trim or setup.config.objective.loss != "cross_entropy":
        return [losses] if losses else []

    def look(epoch: int, logs: Any) -> None:
        classes = len(setup.dataset.preprocessing.classes)
        share = 0.0 if told or epoch + 1 < settings.start else suspected(losses.averages, classes)
        if share:
            told.append(share)
            RUN_LOG.info(
                f"{share:.0%} of the training images stay worse than a guess, apart from the others: wrong labels? "
                f"emphasis trains on these most; look at them, or leave them out with --emphasis.trim {share:.2f}"
            )

    return [losses, keras.callbacks.LambdaCallback(on_epoch_end=look)]


def _add_energy(model: Any, epoch: int, logs: dict[str, Any]) -> None:
    """Logs the loss with the penalties of the weights as they are now, where there are any (row B24)."""
    if penalties := model.losses:
        logs["energy"] = float(logs["loss"]) + sum(float(penalty) for penalty in penalties)


def activations(setup: Setup, run: Run) -> Any:
    """What looks at activations: stands behind EarlyStopping, so that dead units are those of the weights kept."""
    images, _ = _probe(setup)
    validation = evaluation_batches(setup.dataset.validation, setup.dataset.preprocessing)
    return callbacks.ActivationMonitor(
        run.folder / "activations.jsonl", batch=images, validation=validation
    )


def _probe(setup: Setup) -> tuple[Any, Any]:
    """The first training images, no more than a step takes, as they are without augmentation, and their labels."""
    split = setup.dataset.train
    first = split.subset(np.arange(min(_PROBED_IMAGES, setup.config.batch_size, len(split))))
    return _stored(setup, first), tf.constant(first.labels)


def _stored(setup: Setup, part: Split) -> tf.Tensor:
    """Its images as they are without augmentation."""
    return setup.dataset.preprocessing.crop(part.read())


def freezing(optim: Optim) -> list[Any]:
    """What leaves weights untrained where that was asked for."""
    return (
        []
        if optim.frozen is None
        else [callbacks.Freezing(optim.frozen, every=optim.unfreeze_every)]
    )


def by_epoch(setup: Setup) -> list[Any]:
    """What decides before each epoch how its steps move the weights, where that was asked for."""
    return [*freezing(setup.config.optim), *_curvature_rates(setup)]


def as_in_first_epoch(setup: Setup, *others: Any) -> list[Any]:
    """Prepares steps outside of `fit` as the first epoch would, before the train function is made.

    Returns these callbacks, the others last; their `on_train_end` undoes it.
    """
    watching = [*by_epoch(setup), *others]
    for callback in watching:
        callback.set_model(setup.model)
        callback.on_train_begin()
        callback.on_epoch_begin(0)
    return watching


def _curvature_rates(setup: Setup) -> list[Any]:
    if not isinstance(setup.model.optimizer, DiagonalNewton):
        return []
    split = setup.dataset.train
    size = min(_PROBED_IMAGES, setup.config.batch_size, len(split))
    size -= size % setup.config.devices
    random = np.random.default_rng(setup.config.seed)
    drawn = [
        split.subset(random.choice(len(split), size, replace=False))
        for _ in range(_CURVATURE_BATCHES)
    ]
    return [
        CurvatureRates([_stored(setup, part) for part in drawn], [part.labels for part in drawn])
    ]


def clipping(optim: Optim) -> Any:
    """What measures the gradient, and clips it where that was asked for."""
    for key, limit in optim.clipping.items():
        return callbacks.GradientClipping(limit, by=key.removeprefix("clip_"))
    return callbacks.GradientClipping()


def _line(epoch: int, logs: dict[str, float]) -> str:
    return f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.6g}" for name, value in logs.items())
