"""Everything that training needs, made and checked before the first step; nothing is written here."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epochal import models
from epochal.app.config import Config
from epochal.app.data.dataset import Dataset
from epochal.app.data.hard_examples import HardExamples
from epochal.app.data.load import augmentation_for, load
from epochal.app.data.order import Table, ordered
from epochal.app.data.pipeline import Position, TrainingBatches, evaluation_batches
from epochal.app.errors import UsageError
from epochal.app.store.run import Run
from epochal.app.store.trained_model import build_model
from epochal.app.training.optimizers import check_decay, chosen_optimizer, make_optimizer
from epochal.app.training.optimizers.penalties import decayed, matching, penalize
from epochal.app.training.optimizers.per_weight import rate_factors, set_per_weight
from epochal.app.training.run.devices import prepare, scope
from epochal.app.training.run.warm_start import Origin, standardised_like, take_over
from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.learning_rate import arithmetic, shape_of
from epochal.app.training.step.objective import class_weights, criterion
from epochal.app.training.step.sample_losses import SampleLosses
from epochal.app.units import number_of
from epochal.models import weights
from epochal.models.layers.weight_norm import initialize_from


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A compiled model and its data, ready for `fit`."""

    config: Config
    dataset: Dataset
    batches: TrainingBatches
    model: Classifier
    strategy: Any

    def identity(self) -> dict[str, Any]:
        """What a checkpoint and the run that resumes it must share; a run may be told to end later than it was."""
        config = replace(self.config, stopping=replace(self.config.stopping, after=None))
        return {"config": config.to_dict(), "data": self.dataset.fingerprint()}


def set_up(config: Config, run: Run | None = None) -> Setup:
    """Reads the data and makes the model; a `run` that goes on needs no other run that it was started from.

    Raises:
        UsageError: when data, model, optimizer or devices cannot be had as configured.
    """
    chosen_optimizer(config)  # refuses it before any data is read
    if run is None:
        check_decay(config)
    strategy = prepare(config)
    _check_patterns(config)
    return assemble(config, _for_weights(config, load(config), run), strategy)


def assemble(config: Config, dataset: Dataset, strategy: Any = None) -> Setup:
    """The model and the batches of a data set that was read before; `prepare` has made the strategy."""
    table, hard = _order(config, dataset.train.labels)
    batches = TrainingBatches(
        split=dataset.train,
        batch_size=config.batch_size,
        augmentation=augmentation_for(config, dataset),
        seed=config.seed,
        position=Position(table),
    )
    shape_of(config, batches.steps)  # refuses steps past the end before anything is written
    with scope(strategy):
        model = compiled(config, dataset)
    if table is not None and hard is not None:
        model.sample_losses = SampleLosses(
            hard, table, strategy.extended.worker_devices if strategy else (None,)
        )
    return Setup(config=config, dataset=dataset, batches=batches, model=model, strategy=strategy)


def _order(config: Config, labels: np.ndarray) -> tuple[Table | None, HardExamples | None]:
    """The order of each epoch, unless batches shuffle for themselves, and what decides it."""
    if config.emphasis.by is not None:
        hard = HardExamples(config, labels)
        return Table(arrange=hard.arrange), hard
    order = config.data.order
    if order == "shuffled":
        return None, None
    return Table(arrange=lambda epoch: (ordered(order, labels, config.seed, epoch), None)), None


def _check_patterns(config: Config) -> None:
    """Refuses regular expressions that match no weight, or freeze them all, before any data is read."""
    row = models.ZOO.get(config.model)
    optim = config.optim
    if row is not None and (optim.decays or optim.rates or optim.frozen is not None):
        net = models.build(
            config.model, row.input_shape, row.num_classes, options=config.model_options
        )
        decayed(net, optim.decays)
        rate_factors(net, optim)
        frozen = [] if optim.frozen is None else matching(net, optim.frozen, "optim.frozen")
        if len(frozen) == len(net.trainable_weights):
            raise UsageError(
                f"optim.frozen: {optim.frozen!r} leaves nothing of {config.model} to train; freeze less"
            )


def start(setup: Setup) -> Origin | None:
    """Gives the weights what they start from where that is not chance: a file, a run, or the first training images.

    Raises:
        UsageError: when file or run are of another network, or the file is damaged.
        StorageError: when the run is damaged.
    """
    config = setup.config
    origin = None
    with scope(setup.strategy):
        if config.init_from is not None:
            origin = take_over(setup.model, config, setup.dataset.preprocessing.classes)
        elif config.weights is not None:
            try:
                weights.load(setup.model, Path(config.weights))
            except ValueError as error:
                raise UsageError(f"weights: {error}") from error
        if config.init_from is None and config.norm in ("weight", "weight_mean"):
            initialize_from(setup.model, _some_images(setup))
        _begin_anew(setup.model)
    return origin


def _begin_anew(model: Classifier) -> None:
    """Gives the optimizer's variables the values that they begin with, some of which are those of the weights."""
    optimizer: Any = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a loss scale
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(model.trainable_variables)
    for own, begun in zip(optimizer.variables, fresh.variables, strict=True):
        own.assign(begun)


def summary(setup: Setup, origin: Origin | None) -> str:
    """What is about to be trained, in a line, and what should be known of where it starts from."""
    config = setup.config
    dataset = setup.dataset
    same_store = dataset.train.images is dataset.validation.images
    both = (
        len(np.intersect1d(dataset.train.indices, dataset.validation.indices)) if same_store else 0
    )
    seen = f" ({both:,} trained on as well, so that its figures flatter)" if both else ""
    line = (
        f"{dataset.name}: {len(dataset.train):,} train, {len(dataset.validation):,} validation{seen}, "
        f"{len(dataset.test):,} test images, {len(dataset.preprocessing.classes)} classes; {config.model}: "
        f"{setup.model.count_params():,} weights; {config.extent}, "
        f"an epoch has {number_of(setup.batches.steps, 'step')}; learning rate {arithmetic(config)}"
    )
    return "\n".join([line, *(origin.lines(config, setup.batches.steps) if origin else [])])


def _some_images(setup: Setup) -> Any:
    """A batch of training images, drawn by the seed and without augmentation."""
    split = setup.dataset.train
    chosen = np.random.default_rng(setup.config.seed).permutation(len(split))[
        : setup.config.batch_size
    ]
    return next(iter(evaluation_batches(split.subset(chosen), setup.dataset.preprocessing)))[0]


def _for_weights(config: Config, dataset: Dataset, run: Run | None) -> Dataset:
    """The data set, standardised as the images were that the first weights were trained on."""
    if config.init_from is not None:
        return standardised_like(run or Run(Path(config.init_from)), dataset)
    row = models.ZOO.get(config.model)
    if config.weights is None or row is None or row.colours is None:
        return dataset
    preprocessing = dataset.preprocessing
    if preprocessing.channels != len(row.colours.mean):
        raise UsageError(
            f"weights: they read colour images, {dataset.name} has {preprocessing.channels} channel(s)"
        )
    like = replace(preprocessing, mean=row.colours.mean, deviation=row.colours.deviation)
    return replace(dataset, preprocessing=like)


def compiled(config: Config, dataset: Dataset) -> Classifier:
    """The model with optimizer, weight decay and every variable made, so that a checkpoint can be put back."""
    net = build_model(config, dataset.preprocessing)
    model = Classifier(net.input, net.output, name=net.name)
    model.criterion = criterion(config.objective)
    model.class_weights = class_weights(
        config.objective, dataset.preprocessing.classes, dataset.train.labels
    )
    model.micro_batches = config.optim.micro_batches
    optimizer = make_optimizer(config)
    penalize(model, optimizer, config.optim)
    set_per_weight(model, optimizer, config.optim)
    optimizer.build(
        model.trainable_variables
    )  # not within a loss scale, which would lose sight of some variables
    model.compile(
        optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.optimizer.build(model.trainable_variables)
    return model
