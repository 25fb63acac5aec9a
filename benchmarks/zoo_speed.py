"""The zoo's training step against stock Keras and PyTorch: medians of ratios of interleaved blocks.

    python benchmarks/zoo_speed.py --torch PYTHON [--cores 1] [--blocks 7] [NAME ...]

Batch 128 of 32x32x3, SGD with Nesterov momentum and weight decay. Each contender is a process of its own, pinned to the
same cores, that takes a block of steps when told to, one after the other:

- ours: the application's model and step under `fit`, in float32 or mixed_bfloat16, whichever is faster;
- stock: the same network with Keras' own convolutions and batch norm (it has no shortcut A, so that one stays ours),
  under `fit` with Keras' own step, float32;
- PyTorch (PYTHON must have it, see `zoo_torch.py`): the fastest of eager and compiled, float32 and bfloat16 autocast,
  channels first and last. The fastest are chosen by one block each, before the interleaved ones.
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
SECONDS = 3.0  # that a block should take
HERE = Path(__file__).parent


class Contender:
    """A process that takes steps when told to."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=quiet, text=True
        )
        self.steps = 2
        self.rate()  # compiles, fills caches
        self.steps = max(2, round(SECONDS * self.rate() / BATCH))

    def rate(self) -> float:
        """Images a second of one block."""
        print(self.steps, file=self._process.stdin, flush=True)
        assert self._process.stdout is not None
        return self.steps * BATCH / float(self._process.stdout.readline())

    def end(self) -> None:
        """Lets the process go."""
        self._process.kill()
        self._process.wait()


def fastest(commands: list[list[str]]) -> list[str]:
    """The command whose block was fastest, each alone."""
    rates = []
    for command in commands:
        contender = Contender(command)
        rates.append((contender.rate(), command))
        contender.end()
        print(f"    {' '.join(command[2:]):60s} {rates[-1][0]:8.1f} images/s", file=sys.stderr)
    return max(rates)[1]


def compare(name: str, cores: int, blocks: int, torch: str | None) -> None:
    """Prints a row: images/s of ours and its ratios, with their range."""
    me = [sys.executable, str(HERE / "zoo_speed.py"), "--contender"]
    commands = {
        "ours": fastest(
            [
                [*me, "ours", precision, name, str(cores)]
                for precision in ("float32", "mixed_bfloat16")
            ]
        ),
        "stock": [*me, "stock", "float32", name, str(cores)],
    }
    if torch:
        ways = product(("float32", "bfloat16"), ("first", "last"), ("eager", "compiled"))
        start = [torch, str(HERE / "zoo_torch.py"), name]
        commands["torch"] = fastest([[*start, *way, str(cores)] for way in ways])
    running = {who: Contender(command) for who, command in commands.items()}
    rates = [{who: contender.rate() for who, contender in running.items()} for _ in range(blocks)]
    for contender in running.values():
        contender.end()
    ours = statistics.median(rate["ours"] for rate in rates)
    line = f"{name:20s} {cores} core(s)  ours {ours:7.1f} images/s ({commands['ours'][4]})"
    for who in list(commands)[1:]:
        ratios = sorted(rate["ours"] / rate[who] for rate in rates)
        line += f"  / {who} {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(line + (f"  [{' '.join(commands['torch'][3:6])}]" if torch else ""), flush=True)


def contend(who: str, precision: str, name: str, cores: int) -> None:
    """Trains under `fit`, a block for each line on standard input."""
    os.sched_setaffinity(0, range(cores))
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    keras.config.set_dtype_policy(precision)
    random = np.random.default_rng(0)
    batch = (
        random.integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8),
        random.integers(0, 10, BATCH),
    )
    data = tf.data.Dataset.from_tensors(batch).cache().repeat()
    model = ours(name) if who == "ours" else stock(name)
    model.fit(data, steps_per_epoch=10**9, callbacks=[Blocks()], verbose=0)


def ours(name: str) -> Any:
    """The model as `epochal train` compiles it."""
    from epochal.app.training.optimizers.penalties import WeightPenalty
    from epochal.app.training.optimizers.sgd import SGD
    from epochal.app.training.step.classifier import Classifier
    from epochal.app.training.step.objective import Objective

    net = network(name)
    objective = Objective(penalty=WeightPenalty(decay=1e-4))
    return ready(Classifier(net, objective=objective), SGD)


def stock(name: str) -> Any:
    """The same network of Keras' own layers, trained by Keras' own step."""
    import keras

    from epochal.models.layers.batch_norm import FusedBatchNormalization
    from epochal.models.layers.convolution import Convolution

    kinds = {
        FusedBatchNormalization: keras.layers.BatchNormalization,
        Convolution: keras.layers.Conv2D,
    }

    def plain(layer: Any) -> Any:
        config = layer.get_config()
        if "kernel_regularizer" in config:
            config["kernel_regularizer"] = keras.regularizers.L2(0.5e-4)
        return kinds.get(type(layer), type(layer)).from_config(config)

    model = keras.models.clone_model(network(name), clone_function=plain)
    return ready(model, keras.optimizers.SGD)


def network(name: str) -> Any:
    """A model of the zoo for CIFAR-10."""
    from epochal import models

    return models.build(name, (32, 32, 3), 10, mean=[120.0] * 3, deviation=[60.0] * 3)


def ready(model: Any, sgd: Any) -> Any:
    """The model compiled."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(sgd(0.01, momentum=0.9, nesterov=True), loss)
    return model


def Blocks() -> Any:  # noqa: N802 - a class that needs Keras
    """A callback that waits for a line before each block and answers with its seconds."""
    import keras

    class Waiting(keras.callbacks.Callback):
        left = 0

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if not self.left:
                line = sys.stdin.readline()
                self.left = int(line) if line else sys.exit()
                self.began = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.left -= 1
            if not self.left:
                print(time.perf_counter() - self.began, flush=True)

    return Waiting()


def main() -> None:
    """A row for each network."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument(
        "--contender",
        nargs=4,
        metavar=("WHO", "PRECISION", "NAME", "CORES"),
        help=argparse.SUPPRESS,
    )
    asked = parser.parse_args()
    if asked.contender:
        who, precision, name, cores = asked.contender
        contend(who, precision, name, int(cores))
        return
    for name in asked.names:
        compare(name, asked.cores, asked.blocks, asked.torch)


if __name__ == "__main__":
    main()
