"""Emphasis on hard images (LeCun et al. 1998, section 4.1): what it brings, and what outliers do to it.

    TFDS_DATA_DIR=... python benchmarks/emphasis.py [--images 6000] [--epochs 20] [--seeds 3]

LeNet-300-100 on some thousand images of MNIST at a constant rate, without augmentation; accuracy is that of the 6,000
validation images, whose labels stay right. First on clean labels: epochs until 97 %. Then with a fifth of the training
labels replaced by others: the accuracy at the end.
"""

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np

from app.config import Augment, Config, Emphasis, Optim
from app.data.dataset import Dataset
from app.data.load import load
from app.data.pipeline import evaluation_batches
from app.training.devices import prepare
from app.training.setup import assemble
from app.training.steps import Callbacks

CONFIG = Config(
    dataset="mnist",
    model="lenet300",
    batch_size=64,
    learning_rate=0.02,
    augment=Augment(pad_crop=0),
    optim=Optim(weight_decay=0.0),
)
ENOUGH, FLIPPED = 0.97, 0.2
CLEAN = {
    "uniform": Emphasis(),
    "sampler": Emphasis(by="sampler"),
    "sampler, power 1": Emphasis(by="sampler", power=1.0),
    "sampler, unbiased": Emphasis(by="sampler", unbiased=True),
    "weights": Emphasis(by="weights"),
}
NOISY = {
    "uniform": Emphasis(),
    "sampler": Emphasis(by="sampler"),
    "weights": Emphasis(by="weights"),
    "sampler, trimmed": Emphasis(by="sampler", trim=FLIPPED),
    "weights, trimmed": Emphasis(by="weights", trim=FLIPPED),
    "trimmed alone": Emphasis(by="weights", power=0.0, trim=FLIPPED),
}


def some(dataset: Dataset, images: int, seed: int, flipped: float) -> Dataset:
    """So many of the training images, a share of them with another label than their own."""
    random = np.random.default_rng(seed)
    train = dataset.train.subset(random.permutation(len(dataset.train))[:images])
    wrong = random.permutation(images)[: int(flipped * images)]
    labels, classes = train.labels.copy(), len(dataset.preprocessing.classes)
    labels[wrong] = (labels[wrong] + random.integers(1, classes, len(wrong))) % classes
    return replace(dataset, train=replace(train, labels=labels))


def accuracies(config: Config, dataset: Dataset) -> list[float]:
    """Validation accuracy after each epoch."""
    setup = assemble(config, dataset, prepare(config))
    moves = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setup.batches.position.set(epoch))
    watching = [moves, *([setup.model.sample_losses] if setup.model.sample_losses else [])]
    everyone = Callbacks(watching, add_history=True, model=setup.model, epochs=config.epochs, steps=setup.batches.steps)
    validation = evaluation_batches(dataset.validation, dataset.preprocessing.image_size)
    fitted = setup.model.fit(
        setup.batches.dataset(),
        epochs=config.epochs,
        validation_data=validation,
        callbacks=everyone,
        shuffle=False,
        verbose=0,
    )
    return fitted.history["val_accuracy"]


def runs(
    arms: dict[str, Emphasis], asked: argparse.Namespace, flipped: float
) -> Iterator[tuple[str, list[list[float]]]]:
    """The courses of every arm, one for each seed."""
    dataset = load(CONFIG)
    for name, emphasis in arms.items():
        courses = []
        for seed in range(asked.seeds):
            config = replace(CONFIG, epochs=asked.epochs, seed=seed, emphasis=emphasis)
            courses.append(accuracies(config, some(dataset, asked.images, seed, flipped)))
        yield name, courses


def epochs_to(enough: float, course: list[float]) -> str:
    """The first epoch with so much accuracy."""
    return next((str(epoch) for epoch, value in enumerate(course, 1) if value >= enough), f"above {len(course)}")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    print(f"| clean labels | epochs to {ENOUGH:.0%} | accuracy at the end |\n|---|---|---|")
    for name, courses in runs(CLEAN, asked, 0.0):
        print(
            f"| {name} | {', '.join(epochs_to(ENOUGH, course) for course in courses)} | {summary(courses)} |",
            flush=True,
        )
    print(f"\n| {FLIPPED:.0%} of the labels wrong | accuracy at the end |\n|---|---|")
    for name, courses in runs(NOISY, asked, FLIPPED):
        print(f"| {name} | {summary(courses)} |", flush=True)


def summary(courses: list[list[float]]) -> str:
    """Mean and range over the seeds of the last epoch's accuracy."""
    last = sorted(course[-1] for course in courses)
    return f"{statistics.mean(last):.4f} ({last[0]:.4f} to {last[-1]:.4f})"


if __name__ == "__main__":
    main()
