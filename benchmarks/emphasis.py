"""Emphasis on hard images (LeCun et al. 1998, section 4.1): its gain, and its harm with outliers.

    TFDS_DATA_DIR=... python benchmarks/emphasis.py clean|wrong [--images 6000] [--epochs 10]
    [--seeds 3]

Some thousand images of MNIST at a constant rate, without augmentation; accuracy is that of the
6,000 validation images, whose labels stay right.

- clean: LeNet-5 on right labels, epochs until 97 %;
- wrong: LeNet-300-100 with a fifth of the training labels replaced by others, accuracy of the best
  and the last epoch.
"""

import argparse
import statistics
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
        "sampler, start 1, unbiased": Emphasis(
            by="sampler",
            start=1,
            unbiased=True,
        ),
        "weights, start 1": Emphasis(by="weights", start=1),
    },
    "wrong": {
        "uniform": Emphasis(),
        "sampler": Emphasis(by="sampler"),
        "weights": Emphasis(by="weights"),
        "sampler, trim 0.2": Emphasis(by="sampler", trim=FLIPPED),
        "weights, trim 0.2": Emphasis(by="weights", trim=FLIPPED),
        "weights, trim 0.2, power 0": Emphasis(
            by="weights",
            power=0.0,
            trim=FLIPPED,
        ),
    },
}


def draw_subset(dataset: Dataset, images: int, seed: int, flipped: float) -> Dataset:
    """Return the data set with so many of its training images.

    A share `flipped` of them gets a wrong label.
    """
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(dataset.train))[:images]
    train = dataset.train.subset(chosen)
    wrong = random.permutation(images)[: int(flipped * images)]
    classes = len(dataset.preprocessing.classes)
    shifts = random.integers(1, classes, len(wrong))
    labels = train.labels.copy()
    labels[wrong] = (labels[wrong] + shifts) % classes
    return replace(dataset, train=replace(train, labels=labels))


def train(config: Config, dataset: Dataset) -> list[float]:
    """Return the validation accuracy after each epoch of a training."""
    setup = assemble(config, dataset, prepare(config))
    set_position = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setup.batches.position.set(epoch)
    )
    watching = [set_position]
    if setup.model.sample_losses:
        watching.append(setup.model.sample_losses)
    everyone = Callbacks(
        watching,
        add_history=True,
        model=setup.model,
        epochs=config.epochs,
        steps=setup.batches.steps,
    )
    validation = evaluation_batches(dataset.validation, dataset.preprocessing)
    history = setup.model.fit(
        setup.batches.dataset(),
        epochs=config.epochs,
        validation_data=validation,
        callbacks=everyone,
        shuffle=False,
        verbose=0,
    )
    return history.history["val_accuracy"]


def epochs_to(enough: float, accuracies: list[float]) -> str:
    """Return the first epoch with so much accuracy."""
    for epoch, accuracy in enumerate(accuracies, start=1):
        if accuracy >= enough:
            return str(epoch)
    return f"above {len(accuracies)}"


def describe(values: list[float]) -> str:
    """Return mean and range."""
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def main() -> None:
    """Print the table of a study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", choices=ARMS)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.study == "clean":
        model = "lenet5"
        flipped = 0.0
    else:
        model = "lenet300"
        flipped = FLIPPED
    dataset = load(BASE)
    print(f"| {arguments.study} labels | epochs to {ENOUGH:.0%} | best epoch | last epoch |")
    print("|---|---|---|---|")
    for name, emphasis in ARMS[arguments.study].items():
        config = replace(
            BASE,
            model=model,
            epochs=arguments.epochs,
            emphasis=emphasis,
        )
        reached = []
        best = []
        last = []
        for seed in range(arguments.seeds):
            subset = draw_subset(
                dataset,
                arguments.images,
                seed,
                flipped,
            )
            accuracies = train(replace(config, seed=seed), subset)
            reached.append(epochs_to(ENOUGH, accuracies))
            best.append(max(accuracies))
            last.append(accuracies[-1])
        print(
            f"| {name} | {', '.join(reached)} | {describe(best)} | {describe(last)} |", flush=True
        )


if __name__ == "__main__":
    main()
