"""Emphasis on hard images (LeCun et al. 1998, section 4.1): what it brings, and what outliers do to it.

    TFDS_DATA_DIR=... python benchmarks/emphasis.py clean|wrong [--images 6000] [--epochs 10] [--seeds 3]

Some thousand images of MNIST at a constant rate, without augmentation; accuracy is that of the 6,000 validation images,
whose labels stay right.

- clean: LeNet-5 on right labels, epochs until 97 %;
- wrong: LeNet-300-100 with a fifth of the training labels replaced by others, accuracy of the best and the last epoch.
"""

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np

from epochal.app.config import Augment, Config, Emphasis, Optim
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.training.run.devices import prepare
from epochal.app.training.run.setup import assemble
from epochal.app.training.step.classifier import Callbacks

BASE = Config(
    dataset="mnist",
    batch_size=64,
    learning_rate=0.02,
    augment=Augment(pad_crop=0),
    optim=Optim(weight_decay=0.0),
)
ENOUGH = 0.97
FLIPPED = 0.2
ARMS = {
    "clean": {
        "uniform": Emphasis(),
        "sampler": Emphasis(by="sampler"),
        "sampler, start 1": Emphasis(by="sampler", start=1),
        "sampler, start 1, unbiased": Emphasis(by="sampler", start=1, unbiased=True),
        "weights, start 1": Emphasis(by="weights", start=1),
    },
    "wrong": {
        "uniform": Emphasis(),
        "sampler": Emphasis(by="sampler"),
        "weights": Emphasis(by="weights"),
        "sampler, trim 0.2": Emphasis(by="sampler", trim=FLIPPED),
        "weights, trim 0.2": Emphasis(by="weights", trim=FLIPPED),
        "weights, trim 0.2, power 0": Emphasis(by="weights", power=0.0, trim=FLIPPED),
    },
}


def some(dataset: Dataset, images: int, seed: int, flipped: float) -> Dataset:
    """So many of the training images, a share of them with another label than their own."""
    random = np.random.default_rng(seed)
    train = dataset.train.subset(random.permutation(len(dataset.train))[:images])
    wrong = random.permutation(images)[: int(flipped * images)]
    labels = train.labels.copy()
    classes = len(dataset.preprocessing.classes)
    labels[wrong] = (labels[wrong] + random.integers(1, classes, len(wrong))) % classes
    return replace(dataset, train=replace(train, labels=labels))


def accuracies(config: Config, dataset: Dataset) -> list[float]:
    """Validation accuracy after each epoch."""
    setup = assemble(config, dataset, prepare(config))
    moves = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setup.batches.position.set(epoch)
    )
    watching = [moves, *([setup.model.sample_losses] if setup.model.sample_losses else [])]
    everyone = Callbacks(
        watching,
        add_history=True,
        model=setup.model,
        epochs=config.epochs,
        steps=setup.batches.steps,
    )
    validation = evaluation_batches(dataset.validation, dataset.preprocessing)
    fitted = setup.model.fit(
        setup.batches.dataset(),
        epochs=config.epochs,
        validation_data=validation,
        callbacks=everyone,
        shuffle=False,
        verbose=0,
    )
    return fitted.history["val_accuracy"]


def courses(config: Config, dataset: Dataset, asked: argparse.Namespace) -> Iterator[list[float]]:
    """The accuracies of one arm, seed by seed."""
    flipped = FLIPPED if asked.study == "wrong" else 0.0
    for seed in range(asked.seeds):
        yield accuracies(replace(config, seed=seed), some(dataset, asked.images, seed, flipped))


def epochs_to(enough: float, course: list[float]) -> str:
    """The first epoch with so much accuracy."""
    return next(
        (str(epoch) for epoch, value in enumerate(course, 1) if value >= enough),
        f"above {len(course)}",
    )


def spread(values: list[float]) -> str:
    """Mean and range."""
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def main() -> None:
    """Prints the table of a study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", choices=ARMS)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    dataset = load(BASE)
    print(
        f"| {asked.study} labels | epochs to {ENOUGH:.0%} | best epoch | last epoch |\n|---|---|---|---|"
    )
    for name, emphasis in ARMS[asked.study].items():
        model = "lenet5" if asked.study == "clean" else "lenet300"
        config = replace(BASE, model=model, epochs=asked.epochs, emphasis=emphasis)
        found = list(courses(config, dataset, asked))
        reached = ", ".join(epochs_to(ENOUGH, course) for course in found)
        best, last = (
            spread([choose(course) for course in found])
            for choose in (max, lambda course: course[-1])
        )
        print(f"| {name} | {reached} | {best} | {last} |", flush=True)


if __name__ == "__main__":
    main()
