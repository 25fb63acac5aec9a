"""Accuracy of the zoo: trains with `epochal train`, then prints the README's table.

    TFDS_DATA_DIR=... python benchmarks/zoo_accuracy.py FOLDER [STUDY] [--seeds 3]

Runs lie in FOLDER/runs. What has finished there is not trained again, what was stopped goes on: the
table may take many sittings. Without the name of a study it prints what there is. The studies:

- lenets: LeNet-5 and LeNet-300-100 on MNIST, twenty epochs, full training split;
- families: one network of every CIFAR-size family, five epochs of CIFAR-10 under one recipe, one
  seed;
- resnet20: the recipe cifar10-resnet20-short;
- precision: float32 and mixed_bfloat16 under the same seeds: LeNet-5 on MNIST, ResNet-20 with five
  epochs of CIFAR-10.
"""

import argparse
import json
from pathlib import Path

from runs import spread, train_once

ONE_CYCLE = "--schedule.shape one_cycle --optim.weight-decay 0.0005"
MNIST = (
    "--dataset mnist --epochs 20 --batch-size 64 --learning-rate 0.1 --augment.pad-crop 2 "
    f"{ONE_CYCLE}"
)
CIFAR = (
    "--dataset cifar10 --epochs 5 --batch-size 128 --learning-rate 0.1 --augment.pad-crop 4 "
    f"{ONE_CYCLE}"
)
BFLOAT16 = "--precision mixed_bfloat16"
FAMILIES = (
    "alexnet_cifar",
    "resnet20",
    "resnet20_v2",
    "mobilenet_cifar",
    "mobilenet_v2_cifar",
    "densenet_bc_40_12",
    "xception_cifar",
    "vgg11_cifar",
    "inception_resnet_cifar",
    "wrn16_4",
    "resnext29_32x4d",
    "googlenet_cifar",
)
STUDIES = {
    "lenets": {name: f"--model {name} {MNIST}" for name in ("lenet5", "lenet300")},
    "families": {name: f"--model {name} {CIFAR} {BFLOAT16}" for name in FAMILIES},
    "resnet20": {"resnet20-short": "--recipe cifar10-resnet20-short"},
    "precision": {
        "lenet5-bf16": f"--model lenet5 {MNIST} {BFLOAT16}",
        "resnet20-f32": f"--model resnet20 {CIFAR}",
        "resnet20-bf16": f"--model resnet20 {CIFAR} {BFLOAT16}",
    },
}
ONE_SEED = ("families",)


def print_table(folder: Path) -> None:
    """Print a line for everything that has finished."""
    print("| command | seeds | test accuracy | worst |\n|---|---|---|---|")
    for study in STUDIES.values():
        for name, options in study.items():
            seeds = []
            accuracies = []
            for path in sorted((folder / "runs").glob(f"{name}-[0-9]*/result.json")):
                _, _, seed = path.parent.name.rpartition("-")
                seeds.append(seed)
                accuracies.append(json.loads(path.read_text())["test_accuracy"])
            if accuracies:
                print(
                    f"| `epochal train {options}` | {', '.join(seeds)} | {spread(accuracies)} | "
                    f"{min(accuracies):.4f} |"
                )


def main() -> None:
    """Train the study that was asked for, then print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("study", nargs="?", choices=STUDIES)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.study:
        seeds = 1 if arguments.study in ONE_SEED else arguments.seeds
        for seed in range(seeds):
            for name, options in STUDIES[arguments.study].items():
                train_once(
                    arguments.folder,
                    f"{name}-{seed}",
                    f"--seed {seed} {options}",
                )
    print_table(arguments.folder)


if __name__ == "__main__":
    main()
