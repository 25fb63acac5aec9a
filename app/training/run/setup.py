"""The setup of a training: data, batches and model, checked before the first step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal import models
from epochal.app.config import IMAGENET, SETTINGS, Config, Optim, replace_settings
from epochal.app.data.augment.configured import augmentation_for
from epochal.app.data.augment.mixing import Mixing
from epochal.app.data.availability import is_flippable
from epochal.app.data.dataset import Dataset
from epochal.app.data.hard_examples import HardExamples
from epochal.app.data.load import load
from epochal.app.data.order import Table, ordered
from epochal.app.data.pipeline import Position, TrainingBatches, evaluation_batches
from epochal.app.errors import UsageError
from epochal.app.evaluation.trained_model import build_model, check_model
from epochal.app.evaluation.views import views_for
from epochal.app.process.dtype_policy import dtype_policy
from epochal.app.store.run import Run
from epochal.app.training.optimizers import (
    check_decay,
    chosen_optimizer,
    make_optimizer,
    weight_penalty,
)
from epochal.app.training.optimizers.penalties import decayed, matching
from epochal.app.training.optimizers.per_weight import rate_factors
from epochal.app.training.run.devices import prepare, scope
from epochal.app.training.run.normalised import normalised
from epochal.app.training.run.warm_start import Origin, take_over
from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.gradient_transforms import GradientTransform
from epochal.app.training.step.image_record import ImageRecorder
from epochal.app.training.step.learning_rate import shape_of
from epochal.app.training.step.objective import Objective, class_weights, weighted_share
from epochal.app.training.step.sample_losses import SampleLosses
from epochal.callbacks.parts.clipping import Clipper
from epochal.callbacks.parts.clipping_log import ClippingLog
from epochal.models import pretrained, weights
from epochal.models.layers.weight_norm import initialize_from

_STEPS = 10  # in an epoch of few images
_SMALLEST_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A compiled model and its data, ready for `fit`.

    Args:
        config: of the run
        dataset: its images
        batches: of its training images
        model: compiled, with every variable made
        clipping: one of the model's gradient transforms
        strategy: that distributes training, or None for one device
    """

    config: Config
    dataset: Dataset
    batches: TrainingBatches
    model: Classifier
    clipping: ClippingLog
    strategy: Any

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint and the run that resumes it must share.

        A run may be told to end later than it was.
        """
        changeable = {}
        for key, setting in SETTINGS.items():
            if not setting.traits.identity:
                changeable[key] = setting.default
        config = replace_settings(self.config, changeable)
        return {"config": config.to_dict(), "data": self.dataset.fingerprint()}


def set_up(
    config: Config, run: Run | None = None, *, load: Callable[[Config], Dataset] = load
) -> Setup:
    """Read the data and make the model.

    Args:
        config: checked
        run: goes on, and needs no other run that it was started from; None begins
        load: reads the data set of a configuration

    Raises:
        UsageError: data, model, optimizer or devices cannot be had as configured.
    """
    # Refused before any data is read.
    chosen_optimizer(config)
    check_model(config)
    if run is None:
        check_decay(config)
        find_weights(config)
    strategy = prepare(config)
    _check_patterns(config)
    dataset = load(config)
    dataset = normalised(config, dataset, run)
    if run is not None:
        flippable = run.data_card().flippable
        if flippable is None:
            flippable = is_flippable(config.dataset)
        dataset = replace(dataset, flippable=flippable)
    # Refuses views that do not suit the images before anything is written.
    views_for(config, dataset.preprocessing, flippable=dataset.flippable)
    config = with_usual_batch_and_rate(config, dataset)
    setup = assemble(config, dataset, strategy)
    if run is None:
        _check_batch_statistics(setup.model, setup.batches)
    return setup


def with_usual_batch_and_rate(config: Config, dataset: Dataset) -> Config:
    """Return the configuration with the usual batch and rate as they suit the data.

    Few images are taken in smaller batches, for more steps: 180 images of MNIST in batches of 64
    end at 0.88, of 16 at 0.93. The rate follows the batch (Goyal et al. 2017, arXiv:1706.02677),
    that of adaptive optimizers its square root (Malladi et al. 2022, arXiv:2205.10287). Likewise a
    batch in which few images have most of the weight has a gradient as noisy as a smaller batch,
    and at the rate of a large one training is ruined in its first steps. A rate that is given is
    left alone, and so is a batch.
    """
    labels = dataset.train.labels
    share = 1.0
    if config.batch_size is None:
        batch = usual_batch(len(labels), config)
        if config.schedule.batch is None:
            share = batch / config.global_batch
        config = replace(config, batch_size=batch)
    if config.learning_rate is not None:
        return config
    weights = class_weights(config.objective, dataset.preprocessing.classes, labels)
    if weights is not None:
        share *= max(weighted_share(weights, labels), 1 / config.global_batch)
    if config.optimizer.lower() != "sgd":
        share = math.sqrt(share)
    return replace(config, learning_rate=float(f"{config.rate * share:.2g}"))


def usual_batch(num_images: int, config: Config) -> int:
    """Return the batch that is given, or the usual one for so many training images.

    That is halved while it is larger than a tenth of the images; at least 8.
    """
    batch = config.global_batch
    if config.batch_size is not None:
        return batch
    least = max(_SMALLEST_BATCH, 2 * config.devices, config.optim.micro_batches * config.devices)
    while batch * _STEPS > num_images and batch // 2 >= least and batch // 2 % config.devices == 0:
        batch //= 2
    return batch


def assemble(config: Config, dataset: Dataset, strategy: Any = None) -> Setup:
    """Make model and batches of a data set that was read, with the strategy from `prepare`."""
    batches, hard = training_batches(config, dataset)
    shape_of(config, batches.steps)  # refuses steps past the end before anything is written
    table = batches.position.table
    recorders: list[SampleLosses | ImageRecorder] = []
    devices = strategy.extended.worker_devices if strategy else (None,)
    if table is not None and hard is not None:
        recorders.append(SampleLosses(hard, table, devices))
    if table is not None and config.data.image_record:
        recorders.append(ImageRecorder(dataset.train, table, devices))
    clipper = make_clipper(config.optim)
    clipper.build(strategy or tf.distribute.get_strategy())
    with scope(strategy):
        model = build_classifier(
            config,
            dataset,
            transforms=[clipper],
            recorders=recorders,
            position=batches.position,
            full_batch=batches.largest if batches.equal else None,
        )
    return Setup(
        config=config,
        dataset=dataset,
        batches=batches,
        model=model,
        clipping=ClippingLog(clipper),
        strategy=strategy,
    )


def training_batches(
    config: Config, dataset: Dataset
) -> tuple[TrainingBatches, HardExamples | None]:
    """Return the batches of a run, and what emphasises hard images, if anything does."""
    split = dataset.train
    # Copies stand behind the images, in the same order.
    copies = config.augment.noisy_copies
    if copies:
        split = split.subset(np.tile(np.arange(len(split)), 1 + copies))
    table, hard = _order(config, split.labels)
    batches = TrainingBatches(
        split=split,
        batch_size=config.global_batch,
        augmentation=augmentation_for(config, dataset),
        seed=config.seed,
        position=Position(table),
        equal=config.data.batches == "equal",
        mixing=Mixing.from_config(config.augment),
    )
    return batches, hard


def _order(config: Config, labels: np.ndarray) -> tuple[Table | None, HardExamples | None]:
    """Return the order of epochs, unless batches shuffle for themselves, and what decides it."""
    if config.emphasis.by is not None:
        hard = HardExamples(config, labels)
        return Table(arrange=hard.arrange), hard
    order = config.data.order
    if order == "shuffled" and not config.data.image_record:
        return None, None
    # A batch brings positions with the weights of its images alone: equal ones change nothing.
    weights = None
    if config.data.image_record:
        weights = np.ones(len(labels))

    def arrange(epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
        images = ordered(order, labels, config.seed, epoch)
        return images, weights

    return Table(arrange=arrange), None


def find_weights(config: Config) -> Path:
    """Return the file of first weights, those of ImageNet after a download where that is due.

    Raises:
        UsageError: it cannot be downloaded.
    """
    if config.weights != IMAGENET:
        return Path(config.weights or "")
    try:
        return pretrained.fetch(pretrained.published_weights(config.model))
    except ValueError as error:
        raise UsageError(f"weights: {error}") from error


def _check_patterns(config: Config) -> None:
    """Refuse regular expressions that match no weight, or freeze all, before data are read."""
    row = models.ZOO.get(config.model)
    optim = config.optim
    if row is None or not (optim.decays or optim.rates or optim.frozen is not None):
        return
    network = models.build(
        config.model, row.input_shape, row.num_classes, options=config.model_options
    )
    decayed(network, optim.decays)
    rate_factors(network, optim)
    if optim.frozen is None:
        return
    frozen = matching(network, optim.frozen, "optim.frozen")
    if len(frozen) == len(network.trainable_weights):
        raise UsageError(
            f"optim.frozen: {optim.frozen!r} leaves nothing of {config.model} to train; freeze less"
        )


def start(setup: Setup) -> Origin | None:
    """Give weights what they start from where that is not chance.

    That is a file, a run, or the first training images.

    Raises:
        UsageError: file or run are of another network, or the file is damaged.
        StorageError: the run is damaged.
    """
    config = setup.config
    origin = None
    with scope(setup.strategy):
        if config.init_from is not None:
            origin = take_over(
                setup.model,
                config,
                setup.dataset.preprocessing.classes,
            )
        elif config.weights is not None:
            path = find_weights(config)
            try:
                weights.load(setup.model, path)
            except ValueError as error:
                raise UsageError(f"weights: {error}") from error
        if config.init_from is None and config.norm in ("weight", "weight_mean"):
            initialize_from(setup.model, _some_images(setup))
        reset_optimizer(setup.model)
    return origin


def reset_optimizer(model: Classifier) -> None:
    """Give the optimizer's variables their first values, some of which are the weights."""
    # That of a loss scale is inside it.
    optimizer: Any = getattr(
        model.optimizer,
        "inner_optimizer",
        model.optimizer,
    )
    optimizer_class = type(optimizer)
    fresh = optimizer_class.from_config(optimizer.get_config())
    fresh.build(model.trainable_variables)
    for variable, initial in zip(
        optimizer.variables,
        fresh.variables,
        strict=True,
    ):
        variable.assign(initial)


def _some_images(setup: Setup) -> Any:
    """Return a batch of training images, drawn by the seed and without augmentation."""
    split = setup.dataset.train
    random = np.random.default_rng(setup.config.seed)
    order = random.permutation(len(split))
    drawn = split.subset(order[: setup.config.global_batch])
    batches = evaluation_batches(drawn, setup.dataset.preprocessing)
    images, _ = next(iter(batches))
    return images


def _check_batch_statistics(model: Classifier, batches: TrainingBatches) -> None:
    """Refuse batches of which batch norm sees one value a channel, and returns its offset alone."""
    images = max(1, batches.smallest // model.micro_batches)
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        height_and_width = layer.input.shape[1:-1]
        if images * math.prod(height_and_width) < 2:
            raise UsageError(
                f"batch_size: {layer.name} needs at least 2 values a channel to normalise, got 1 "
                "from a batch or micro-batch of 1 image; make batches larger, or choose a --norm "
                "without statistics of the batch"
            )


def build_classifier(
    config: Config,
    dataset: Dataset,
    *,
    transforms: Sequence[GradientTransform] = (),
    recorders: Sequence[SampleLosses | ImageRecorder] = (),
    position: Position | None = None,
    full_batch: int | None = None,
) -> Classifier:
    """Return the compiled model with every variable made, so that a checkpoint can be put back.

    Args:
        config: of the run
        dataset: its preprocessing becomes part of the model, its classes weigh as configured
        transforms: what gradients go through before the optimizer
        recorders: note the loss of each image, or more
        position: where training stands in its data
        full_batch: as `Objective` has it
    """
    preprocessing = dataset.preprocessing
    network = build_model(config, preprocessing)
    objective = Objective.from_config(
        config.objective,
        preprocessing.classes,
        dataset.train.labels,
        penalty=weight_penalty(config),
        full_batch=full_batch,
    )
    with dtype_policy(config.precision):
        model = Classifier(
            network,
            objective=objective,
            gradient_transforms=transforms,
            micro_batches=config.optim.micro_batches,
            recorders=recorders,
            position=position,
        )
        optimizer = make_optimizer(config, network)
        # Before `compile`, which may put a loss scale around it that loses sight of some variables.
        optimizer.build(model.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=optimizer, loss=loss)
        model.optimizer.build(model.trainable_variables)
    return model


def make_clipper(optim: Optim) -> Clipper:
    """Return what measures the gradient, and clips it where that is configured."""
    for key, limit in optim.clipping.items():
        return Clipper(limit, by=key.removeprefix("clip_"))
    return Clipper()
