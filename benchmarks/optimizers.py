"""SGD with momentum against Adam, AdaGrad and RMSProp on MNIST, each with as many trials.

    TFDS_DATA_DIR=... python benchmarks/optimizers.py FOLDER [--seeds 3]

LeNet-5, batch 64, cosine schedule, no augmentation. Every optimizer tries nine learning rates, two
a decade, with one short training (two epochs, seed 0) at each. The rate of the best validation
accuracy (the lower loss breaks a tie) then trains five epochs with every seed; only these see the
test images. Runs lie in FOLDER/runs: what has finished is not trained again.
"""

import argparse
from pathlib import Path

from runs import spread, train_once

COMMON = (
    "--dataset mnist --model lenet5 --batch-size 64 --schedule.shape cosine --optim.weight-decay 0"
)
# exponents of ten: a range of the same width around where the literature looks for each
RATES = {
    "sgd": (-3, 1),
    "adam": (-5, -1),
    "adagrad": (-4, 0),
    "rmsprop": (-5, -1),
}


def search_rate(folder: Path, optimizer: str) -> tuple[float, list[float]]:
    """Return the best learning rate, and the validation accuracies of all."""
    low, high = RATES[optimizer]
    accuracies = []
    scores = {}
    for half_decades in range(2 * low, 2 * high + 1):
        rate = 10.0 ** (half_decades / 2)
        options = f"{COMMON} --optimizer {optimizer} --learning-rate {rate:.3g} --epochs 2 --seed 0"
        result = train_once(
            folder,
            f"{optimizer}-search-{half_decades}",
            options,
        )
        accuracies.append(result["validation_accuracy"])
        scores[rate] = (result["validation_accuracy"], -result["validation_loss"])
    best = max(scores, key=lambda rate: scores[rate])
    return best, accuracies


def main() -> None:
    """Search, train the winners, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    print("| optimizer | rate | rates within 0.5 % of the best | test accuracy | worst |")
    print("|---|---|---|---|---|")
    for optimizer in RATES:
        rate, searched = search_rate(folder, optimizer)
        near = sum(accuracy > max(searched) - 0.005 for accuracy in searched)
        options = f"{COMMON} --optimizer {optimizer} --learning-rate {rate:.3g} --epochs 5"
        accuracies = []
        for seed in range(arguments.seeds):
            result = train_once(
                folder,
                f"{optimizer}-final-{seed}",
                f"{options} --seed {seed}",
            )
            accuracies.append(result["test_accuracy"])
        print(
            f"| {optimizer} | {rate:.3g} | {near} of {len(searched)} | {spread(accuracies)} | "
            f"{min(accuracies):.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
