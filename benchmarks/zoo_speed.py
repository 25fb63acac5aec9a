"""Speed of the zoo's training step against stock Keras and PyTorch.

    python benchmarks/zoo_speed.py --torch PYTHON [--cores 1] [--blocks 7] [NAME ...]

Medians of ratios of interleaved blocks. Batch 128 of 32x32x3, SGD with Nesterov momentum and weight
decay. Each contender is a process pinned to the same cores that takes a block of steps when it is
told to, one after the other:

- ours: the application's model and step under `fit`, in float32 or mixed_bfloat16, whichever is
  faster;
- stock: the same network with Keras' convolutions and batch norm (it has no shortcut A, so that one
  stays ours), under `fit` with Keras' step, float32;
- PyTorch (PYTHON must have it, see `zoo_torch.py`): the fastest of eager and compiled, float32 and
  bfloat16 autocast, channels first and last. The fastest are chosen by one block each, before the
  interleaved ones.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

NAMES = ("resnet20", "resnet18_cifar", "vgg16_cifar", "densenet_bc_40_12", "mobilenet_v2_cifar")
BATCH = 128
BLOCK_SECONDS = 3.0
HERE = Path(__file__).parent


class Contender:
    """A process that takes steps when told to."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            text=True,
        )
        self.steps = 2
        self.run_block()  # compiles, fills caches
        rate = self.run_block()
        self.steps = max(2, round(BLOCK_SECONDS * rate / BATCH))

    def run_block(self) -> float:
        """Take the steps of one block, and return the images a second."""
        print(self.steps, file=self._process.stdin, flush=True)
        assert self._process.stdout is not None
        seconds = float(self._process.stdout.readline())
        return self.steps * BATCH / seconds

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def find_fastest(commands: list[list[str]]) -> list[str]:
    """Return the command whose block is fastest, each running alone."""
    rates = []
    for command in commands:
        contender = Contender(command)
        rate = contender.run_block()
        contender.end()
        rates.append((rate, command))
        print(f"    {' '.join(command[2:]):60s} {rate:8.1f} images/s", file=sys.stderr)
    _, fastest = max(rates)
    return fastest


def choose_commands(name: str, cores: int, torch: str | None) -> dict[str, list[str]]:
    """Return the command of each contender."""
    script = [sys.executable, str(HERE / "zoo_speed.py"), "--contender"]
    ours = []
    for precision in ("float32", "mixed_bfloat16"):
        ours.append([*script, "ours", precision, name, str(cores)])
    commands = {
        "ours": find_fastest(ours),
        "stock": [*script, "stock", "float32", name, str(cores)],
    }
    if torch:
        torch_script = [torch, str(HERE / "zoo_torch.py"), name]
        ways = product(
            ("float32", "bfloat16"),
            ("first", "last"),
            ("eager", "compiled"),
        )
        commands["torch"] = find_fastest([[*torch_script, *way, str(cores)] for way in ways])
    return commands


def compare(name: str, cores: int, blocks: int, torch: str | None) -> None:
    """Print a row: images/s of ours and its ratios, with their range."""
    commands = choose_commands(name, cores, torch)
    contenders = {who: Contender(command) for who, command in commands.items()}
    rates: dict[str, list[float]] = {who: [] for who in contenders}
    for _ in range(blocks):
        for who, contender in contenders.items():
            rates[who].append(contender.run_block())
    for contender in contenders.values():
        contender.end()
    rate = statistics.median(rates["ours"])
    precision = commands["ours"][4]
    line = f"{name:20s} {cores} core(s)  ours {rate:7.1f} images/s ({precision})"
    for who in commands:
        if who == "ours":
            continue
        ratios = [
            ours / theirs
            for ours, theirs in zip(
                rates["ours"],
                rates[who],
                strict=True,
            )
        ]
        median = statistics.median(ratios)
        line += f"  / {who} {median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    if torch:
        line += f"  [{' '.join(commands['torch'][3:6])}]"
    print(line, flush=True)


def contend(who: str, precision: str, name: str, cores: int) -> None:
    """Train under `fit`, a block for each line on standard input."""
    os.sched_setaffinity(0, range(cores))
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    keras.config.set_dtype_policy(precision)
    random = np.random.default_rng(0)
    images = random.integers(
        0,
        256,
        (BATCH, 32, 32, 3),
        dtype=np.uint8,
    )
    labels = random.integers(0, 10, BATCH)
    data = tf.data.Dataset.from_tensors((images, labels)).cache().repeat()
    model = make_ours(name) if who == "ours" else make_stock(name)
    model.fit(
        data,
        steps_per_epoch=10**9,
        callbacks=[make_waiting_callback()],
        verbose=0,
    )


def make_ours(name: str) -> Any:
    """Return the model as `epochal train` compiles it."""
    from epochal.app.training.optimizers.penalties import WeightPenalty
    from epochal.app.training.optimizers.sgd import SGD
    from epochal.app.training.step.classifier import Classifier
    from epochal.app.training.step.objective import Objective

    objective = Objective(penalty=WeightPenalty(decay=1e-4))
    return compile_model(Classifier(build_network(name), objective=objective), SGD)


def make_stock(name: str) -> Any:
    """Return the same network of Keras' layers, trained by Keras' step."""
    import keras

    from epochal.models.layers.batch_norm import FusedBatchNormalization
    from epochal.models.layers.convolution import Convolution

    stock_classes = {
        FusedBatchNormalization: keras.layers.BatchNormalization,
        Convolution: keras.layers.Conv2D,
    }

    def copy_layer(layer: Any) -> Any:
        config = layer.get_config()
        if "kernel_regularizer" in config:
            config["kernel_regularizer"] = keras.regularizers.L2(0.5e-4)
        layer_class = stock_classes.get(type(layer), type(layer))
        return layer_class.from_config(config)

    model = keras.models.clone_model(build_network(name), clone_function=copy_layer)
    return compile_model(model, keras.optimizers.SGD)


def build_network(name: str) -> Any:
    """Return a model of the zoo for CIFAR-10."""
    from epochal import models

    return models.build(
        name,
        (32, 32, 3),
        10,
        mean=[120.0] * 3,
        deviation=[60.0] * 3,
    )


def compile_model(model: Any, sgd: Any) -> Any:
    """Compile the model, and return it."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(sgd(0.01, momentum=0.9, nesterov=True), loss)
    return model


def make_waiting_callback() -> Any:
    """Return a callback that waits for a line before each block and answers with its seconds.

    A line holds the number of steps of a block. At the end of the input the process ends.
    """
    import keras

    class Waiting(keras.callbacks.Callback):
        steps_left = 0

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if self.steps_left > 0:
                return
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            self.steps_left = int(line)
            self.start = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps_left -= 1
            if self.steps_left == 0:
                print(time.perf_counter() - self.start, flush=True)

    return Waiting()


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "names",
        nargs="*",
        default=NAMES,
        metavar="NAME",
    )
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument(
        "--contender",
        nargs=4,
        metavar=("WHO", "PRECISION", "NAME", "CORES"),
        help=argparse.SUPPRESS,
    )
    arguments = parser.parse_args()
    if arguments.contender:
        who, precision, name, cores = arguments.contender
        contend(who, precision, name, int(cores))
        return
    for name in arguments.names:
        compare(
            name,
            arguments.cores,
            arguments.blocks,
            arguments.torch,
        )


if __name__ == "__main__":
    main()
