"""SGD with momentum against Adam, AdaGrad and RMSProp on MNIST, each with the same number of trials for its rate.

    TFDS_DATA_DIR=... python benchmarks/optimizers.py FOLDER [--seeds 3]

LeNet-5, batch 64, cosine schedule, no augmentation. Every optimizer has its own nine learning rates, two a decade, and
one short training (two epochs, seed 0) at each. The rate of the best validation accuracy (the lower loss breaks a tie)
then trains five epochs with every seed; only these see the test images. Runs lie in FOLDER/runs: what has finished is
not trained again.
"""

import argparse
import statistics
from pathlib import Path

from runs import trained

COMMON = (
    "--dataset mnist --model lenet5 --batch-size 64 --schedule.shape cosine --optim.weight-decay 0"
)
RATES = {  # a range of the same width around where the literature looks for each
    "sgd": (-3, 1),
    "adam": (-5, -1),
    "adagrad": (-4, 0),
    "rmsprop": (-5, -1),
}


def searched(folder: Path, optimizer: str) -> tuple[float, list[tuple[float, float]]]:
    """The best rate, and every rate with its validation accuracy."""
    low, high = RATES[optimizer]
    trials = []
    for place in range(2 * low, 2 * high + 1):
        rate = 10.0 ** (place / 2)
        options = f"{COMMON} --optimizer {optimizer} --learning-rate {rate:.3g} --epochs 2 --seed 0"
        trials.append((rate, trained(folder, f"{optimizer}-search-{place}", options)))
    best = max(
        trials, key=lambda trial: (trial[1]["validation_accuracy"], -trial[1]["validation_loss"])
    )
    return best[0], [(rate, result["validation_accuracy"]) for rate, result in trials]


def main() -> None:
    """Searches, trains the winners, prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    print(
        "| optimizer | rate | rates within 0.5 % of the best | test accuracy | worst |\n|---|---|---|---|---|"
    )
    for optimizer in RATES:
        rate, trials = searched(asked.folder, optimizer)
        options = f"{COMMON} --optimizer {optimizer} --learning-rate {rate:.3g} --epochs 5"
        results = [
            trained(asked.folder, f"{optimizer}-final-{seed}", f"{options} --seed {seed}")
            for seed in range(asked.seeds)
        ]
        accuracies = [result["test_accuracy"] for result in results]
        spread = f" ± {statistics.stdev(accuracies):.4f}" if len(accuracies) > 1 else ""
        near = sum(accuracy > max(other for _, other in trials) - 0.005 for _, accuracy in trials)
        mean = f"{statistics.mean(accuracies):.4f}{spread}"
        print(
            f"| {optimizer} | {rate:.3g} | {near} of {len(trials)} | {mean} | {min(accuracies):.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
