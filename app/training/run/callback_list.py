"""The callbacks of a run: which there are, and the list in which Keras calls them."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from epochal import callbacks
from epochal.app import streams
from epochal.app.config import Config, Optim
from epochal.app.data.dataset import Split
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.process.log import RUN_LOG
from epochal.app.store.run import Run
from epochal.app.training.optimizers.curvature_rates import CurvatureRates
from epochal.app.training.optimizers.diagonal_newton import DiagonalNewton
from epochal.app.training.run.epoch_log import Energy, EpochLog
from epochal.app.training.run.setup import Setup
from epochal.app.training.run.thawing import Thawing
from epochal.app.training.run.wrong_labels import WrongLabels
from epochal.app.training.step.classifier import Callbacks
from epochal.app.training.step.image_record import ImageRecorder
from epochal.app.training.step.learning_rate import rate_callbacks
from epochal.callbacks.parts.phase import sort_callbacks

_PROBED_IMAGES = 64  # whose gradients and activations are looked at after an epoch
_CURVATURE_BATCHES = 8  # of as many images


class CallbackList(Callbacks):
    """The list for `fit`, ordered by the phases of the callbacks.

    Args:
        watching: callbacks with a `phase`, in any order; within a phase it stays
        model: the compiled model that is trained
        epochs: to train for
        steps: in an epoch

    Raises:
        ValueError: a callback has no phase, or two have the same key.
    """

    def __init__(self, watching: Iterable[Any], *, model: Any, epochs: int, steps: int) -> None:
        ordered = sort_callbacks(watching)
        super().__init__(
            ordered,
            add_history=True,
            model=model,
            epochs=epochs,
            steps=steps,
        )


def run_callbacks(setup: Setup, run: Run, budget: Any, *, rate_scale: float = 1.0) -> list[Any]:
    """Return the callbacks of a run, apart from those that `train` asks how training ended.

    Args:
        setup: the model and its data
        run: the folder for what they write
        budget: the callback that ends training in time, or None
        rate_scale: a factor of all learning rates
    """
    config = setup.config
    share = None
    expected_epochs = None
    if budget is not None:
        share = budget.share
        expected_epochs = budget.expected_epochs
    probe = probe_batch(setup)
    listed = [
        callbacks.Timing(run.timing_file, warn=RUN_LOG.info),
        *rate_callbacks(
            config,
            setup.batches.steps,
            share,
            rate_scale=rate_scale,
        ),
        *weight_steering(setup),
        setup.clipping,
        callbacks.NanGuard(keep_state=True),
        *emphasis(setup),
        *image_record(setup, run),
        callbacks.WeightHistograms(run.tensorboard, batch=probe),
        callbacks.GradientFlow(
            run.gradient_flow_log,
            batch=probe,
            loss=setup.model.data_loss,
            norms=setup.clipping.latest_norms,
        ),
        callbacks.SmallUpdates(warn=RUN_LOG.info),
        callbacks.TrainingLog(run.folder),
        callbacks.LossCurves(run.losses_plot, log=run.iterations_log),
        callbacks.Progress(
            images_per_epoch=len(setup.dataset.train),
            monitor=config.stopping.monitor,
            expected_epochs=expected_epochs,
        ),
        EpochLog(),
        Energy(),
        activation_monitor(setup, run),
    ]
    if budget is not None:
        listed.append(budget)
    if config.optim.frozen is not None:
        listed.append(Thawing(config.optim))
    if config.optim.ema:
        listed.append(callbacks.ExponentialMovingAverage(config.optim.ema))
    if config.stopping.keep:
        listed.append(kept_epochs(config, run))
    return listed


def early_stopping_of(config: Config) -> Any:
    """Return what keeps the best epoch.

    It keeps the last one where validation, being trained on, cannot tell which is the best.
    """
    min_delta = -math.inf if config.data.split == "all" else 0.0
    return callbacks.EarlyStopping(
        config.stopping.monitor, patience=config.stopping.patience, min_delta=min_delta
    )


def kept_epochs(config: Config, run: Run) -> Any:
    """Return what keeps the weights of the best epochs as files."""
    return callbacks.BestWeights(
        run.best_epochs, config.stopping.monitor, top=config.stopping.keep or 1
    )


def emphasis(setup: Setup) -> list[Any]:
    """Return what learns the losses of the training images, and warns of wrong labels."""
    config = setup.config
    sample_losses = setup.model.sample_losses
    if sample_losses is None:
        return []
    # The losses of mixed images say nothing of a label.
    unclear = config.objective.loss != "cross_entropy" or setup.batches.mixing is not None
    if config.emphasis.trim or unclear:
        return [sample_losses]
    classes = len(setup.dataset.preprocessing.classes)
    warning = WrongLabels(
        sample_losses,
        classes=classes,
        start=config.emphasis.start,
    )
    return [sample_losses, warning]


def image_record(setup: Setup, run: Run) -> list[Any]:
    """Return what keeps how each training image fares, where that is asked for."""
    recorders = [
        recorder for recorder in setup.model.recorders if isinstance(recorder, ImageRecorder)
    ]
    for recorder in recorders:
        recorder.folder = run.image_record
    return recorders


def activation_monitor(setup: Setup, run: Run) -> Any:
    """Return what looks at activations, in the end at those of the weights that are kept."""
    images, _ = probe_batch(setup)
    validation = evaluation_batches(setup.dataset.validation, setup.dataset.preprocessing)
    return callbacks.ActivationMonitor(
        run.activations_log,
        batch=images,
        validation=validation,
    )


def probe_batch(setup: Setup) -> tuple[Any, Any]:
    """Return the first training images, not augmented, a step's at most, and their labels."""
    split = setup.dataset.train
    count = min(_PROBED_IMAGES, setup.config.global_batch, len(split))
    first = split.subset(np.arange(count))
    return _plain_images(setup, first), tf.constant(first.labels)


def weight_steering(setup: Setup) -> list[Any]:
    """Return what decides before each epoch how its steps move the weights."""
    return [*freezing(setup.config.optim), *_curvature_rates(setup)]


def freezing(optim: Optim) -> list[Any]:
    """Return what leaves weights untrained, if any."""
    if optim.frozen is None:
        return []
    return [callbacks.Freezing(optim.frozen, every=optim.unfreeze_every)]


def as_in_first_epoch(setup: Setup) -> list[Any]:
    """Prepare steps outside of `fit` as the first epoch would, and make the train function.

    Returns the callbacks that did it; their `on_train_end` undoes it.
    """
    steering = weight_steering(setup)
    for callback in steering:
        callback.set_model(setup.model)
        callback.on_train_begin()
        callback.on_epoch_begin(0)
    setup.model.make_train_function()
    return steering


def _curvature_rates(setup: Setup) -> list[Any]:
    if not isinstance(setup.model.optimizer, DiagonalNewton):
        return []
    split = setup.dataset.train
    size = min(_PROBED_IMAGES, setup.config.global_batch, len(split))
    size -= size % setup.config.devices
    random = streams.generator(setup.config.seed, "curvature images")
    images = []
    labels = []
    for _ in range(_CURVATURE_BATCHES):
        chosen = random.choice(len(split), size, replace=False)
        drawn = split.subset(chosen)
        images.append(_plain_images(setup, drawn))
        labels.append(drawn.labels)
    return [CurvatureRates(images, labels, seed=setup.config.seed)]


def _plain_images(setup: Setup, part: Split) -> tf.Tensor:
    """Return images as they are without augmentation."""
    return setup.dataset.preprocessing.crop(part.read())
