"""Precision of `epochal data check --run` on flipped labels: python -m benchmarks.wrong_labels

5,000 training images of MNIST, 5 % of whose labels are another class, drawn by the seed; a small
network for a few epochs. Of the 5 % most suspicious images, the share whose label was flipped.
"""

import sys
from dataclasses import replace

import keras
import numpy as np

from epochal.app.config import Config
from epochal.app.config.data import Data
from epochal.app.data.audit.labels import mean_margins, suspicion
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.training.run.setup import assemble, with_usual_batch_and_rate
from epochal.app.training.step.classifier import Callbacks
from epochal.app.training.step.image_record import ImageRecorder

_SHARE = 0.05
_IMAGES = 5000


def flip(dataset: Dataset, seed: int) -> tuple[Dataset, np.ndarray]:
    """Return the data with the first images alone and some labels flipped, and which they are."""
    train = dataset.train.subset(np.arange(_IMAGES))
    random = np.random.default_rng(seed)
    flipped = random.choice(_IMAGES, round(_SHARE * _IMAGES), replace=False)
    labels = train.labels.copy()
    labels[flipped] = (labels[flipped] + random.integers(1, 10, len(flipped))) % 10
    return replace(dataset, train=replace(train, labels=labels)), flipped


def precision(config: Config, dataset: Dataset) -> tuple[float, float]:
    """Train; return the precision by suspicion and by the margin alone."""
    flipped_data, flipped = flip(dataset, config.seed)
    config = with_usual_batch_and_rate(config, flipped_data)
    keras.utils.set_random_seed(config.seed)
    setup = assemble(config, flipped_data)
    (recorder,) = setup.model.recorders
    assert isinstance(recorder, ImageRecorder)
    moves = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setup.batches.position.set(epoch)
    )
    watching = Callbacks(
        [moves, recorder],
        add_history=True,
        model=setup.model,
        epochs=config.epochs,
        steps=setup.batches.steps,
    )
    setup.model.fit(
        setup.batches.dataset(),
        epochs=config.epochs,
        callbacks=watching,
        shuffle=False,
        verbose=0,
    )
    record = recorder.images
    shares = []
    for scores in (suspicion(record), -mean_margins(record)):
        worst = np.argsort(-scores, kind="stable")[: len(flipped)]
        shares.append(float(np.isin(worst, flipped).mean()))
    return shares[0], shares[1]


def main() -> None:
    """Print a line for each number of epochs and seed."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    data = Data(image_record=True)
    base = Config(dataset="mnist", model="lenet5", data=data)
    dataset = load(base)
    for epochs in (3, 10):
        for seed in seeds:
            shares = precision(replace(base, epochs=epochs, seed=seed), dataset)
            print(f"epochs {epochs} seed {seed}: {shares[0]:.3f}, by margin {shares[1]:.3f}")


if __name__ == "__main__":
    main()
