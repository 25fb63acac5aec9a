"""From a finished run to saved_models/NAME/VERSION/: written beside, proven in a fresh process, then renamed."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from app import storage
from app.config import is_name
from app.data.dataset import Split
from app.data.load import load
from app.errors import StorageError, UsageError
from app.evaluation.conclude import evaluate_split
from app.evaluation.metrics import probabilities
from app.export import proof, saved_model
from app.runs import Run, judged_on
from app.trained import Trained, load_trained

ROOT = Path("saved_models")
_EVIDENCE = 2**30  # bytes of test images that the proof takes along


def export(run: Run, name: str | None, say: Callable[[str], None], root: Path = ROOT) -> Path:
    """Exports the run's best model as the next version of `name` and returns its folder.

    Raises:
        UsageError: the run has not finished, or the name may not name a folder.
        StorageError: it cannot be written, or does not answer like the run; nothing is published then.
    """
    name = name or run.folder.name
    if not is_name(name):
        raise UsageError(f"--name {name!r} must be letters, digits, '.', '_' or '-' (at most 64)")
    trained = load_trained(run)
    images, expected = _evidence(run, trained)
    target = root / name / str(_next_version(root / name))

    def fill(folder: Path) -> None:
        saved_model.write(trained, folder)
        verdict = _prove(folder, images, expected, trained.preprocessing.classes)
        if verdict["first_difference"]:
            raise StorageError(
                f"export of {run.folder} differs from the run at {verdict['first_difference']}; not published"
            )
        say(
            f"proven in a fresh process: {verdict['images']:,} test images through both signatures, every label "
            f"equal, probabilities within {verdict['largest_difference']:.1e}"
        )

    storage.publish(target, fill)
    return target


def _next_version(folder: Path) -> int:
    if folder.is_dir():
        storage.sweep(folder)
    taken = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return max(taken, default=0) + 1


def _evidence(run: Run, trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """Test images as stored and the run's probabilities for them, which must give the figures that the run has."""
    dataset = load(trained.config)
    logits, test = evaluate_split(trained.model, dataset.test, trained.preprocessing.image_size)
    stored = run.read_json("result.json")
    own = (test.count, test.accuracy)
    if judged_on(stored) == "test" and own != (stored["test_count"], stored["test_accuracy"]):
        raise StorageError(
            f"{run.folder}: its weights and data give test accuracy {test.accuracy:.4f} on {test.count} images, its "
            f"result.json says {stored['test_accuracy']:.4f} on {stored['test_count']}; restore the data set"
        )
    count = max(1, min(len(dataset.test), _EVIDENCE // _bytes_of(trained)))
    return _images(dataset.test, count), probabilities(logits[:count]).astype(np.float32)


def _bytes_of(trained: Trained) -> int:
    return trained.preprocessing.stored_size**2 * trained.preprocessing.channels


def _images(split: Split, count: int) -> np.ndarray:
    read = tf.function(split.images.reader())
    blocks = [read(tf.constant(split.indices[i : min(i + 256, count)])).numpy() for i in range(0, count, 256)]
    return np.concatenate(blocks)


def _prove(folder: Path, images: np.ndarray, expected: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as beside:
        evidence = Path(beside) / "evidence.npz"
        np.savez(evidence, images=images, probabilities=expected, classes=np.array(classes))
        command = [sys.executable, "-I", str(Path(proof.__file__)), str(folder), str(evidence)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own program
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StorageError(f"the exported model cannot be loaded and asked: {last[:150]}; not published")
    verdict: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return verdict
