"""From a finished run to saved_models/NAME/VERSION/: written beside, proven in a fresh process, then renamed."""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from epochal.app.config import is_name
from epochal.app.errors import StorageError, UsageError
from epochal.app.export import proof
from epochal.app.export.exported_run import Source, read_source
from epochal.app.export.reference_answers import Evidence
from epochal.app.export.saved_model import CARD
from epochal.app.export.variants import Variant
from epochal.app.store import files as storage
from epochal.app.store.run import Run

_UNWRITTEN = (  # what TensorFlow's writers make of a full disk, a file too large, a forbidden one: no OSError
    tf.errors.ResourceExhaustedError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
)
_LOST = 0.05  # of test accuracy: a precision that costs more is a mistake


def export(
    run: Run,
    name: str | None,
    variant: Variant,
    say: Callable[[str], None],
    root: Path | None = None,
) -> Path:
    """Exports the run's best model as the next version of `name` and returns its folder.

    Raises:
        UsageError: the run has not finished, or the name may not name a folder.
        StorageError: it cannot be written, or does not answer like the run; nothing is published then.
    """
    name = name or run.folder.name + variant.suffix
    if not is_name(name):
        raise UsageError(f"--name {name!r} must be letters, digits, '.', '_' or '-' (at most 64)")
    say("computing the run's own answers ...")
    source = read_source(run)
    folder = (root or variant.root) / name

    def fill(folder: Path) -> None:
        say(f"writing the {variant.format} ...")
        try:
            expected = source.write(folder, variant, name)
        except _UNWRITTEN as error:
            raise StorageError(
                f"cannot write {folder}: {error.message[-150:]}; free space, then run again"
            ) from error
        say(
            f"asking it in a fresh process, {len(expected.evidence.images):,} test images each way in ..."
        )
        verdict = asked(folder, expected.evidence, expected.tolerance)
        if verdict["first_difference"]:
            raise StorageError(
                f"export of {run.folder} differs from the run at {verdict['first_difference']}; not published"
            )
        if verdict["accuracy"] < source.accuracy - _LOST:
            raise StorageError(
                f"as {variant.format} {variant.precision} the test accuracy is {verdict['accuracy']:.4f}, the run's "
                f"own {source.accuracy:.4f}; not published: give another --precision"
            )
        _note(folder, verdict)
        for line in _told(verdict, source, expected.exact):
            say(line)

    with storage.alone(folder):
        target = folder / str(_next_version(folder))
        storage.publish(target, fill)
    return target


def _next_version(folder: Path) -> int:
    storage.sweep(folder)
    taken = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return max(taken, default=0) + 1


def asked(
    folder: Path, evidence: Evidence, tolerance: float = math.inf, timed: str = ""
) -> dict[str, Any]:
    """What `proof.py`, in a process of its own, finds of the model in a folder.

    Raises:
        StorageError: when the model cannot be loaded and asked there.
    """
    with tempfile.TemporaryDirectory() as beside:
        evidence.save(Path(beside))
        command = [
            sys.executable,
            "-EP",
            str(Path(proof.__file__)),
            str(folder),
            beside,
            str(tolerance),
            timed,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own program
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StorageError(
            f"the exported model cannot be loaded and asked: {last[:150]}; not published"
        )
    verdict: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return verdict


def _note(folder: Path, verdict: dict[str, Any]) -> None:
    """Adds to the card how the exported model itself did on the test images; the rest of the card is the run's."""
    found = {name: verdict[name] for name in ("images", "accuracy", "largest_difference")}
    (file,) = folder.rglob(CARD)
    file.write_text(json.dumps({**card_of(folder), "exported": found}, indent=2) + "\n", "utf-8")


def card_of(folder: Path) -> dict[str, Any]:
    """The card of an export of any format."""
    (file,) = folder.rglob(CARD)
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def _told(verdict: dict[str, Any], source: Source, exact: bool) -> list[str]:
    """What the user should know of an export."""
    ways = ", ".join(verdict["ways"])
    calibration = source.own.card["calibration"]
    lines = [f"asked: {verdict['images']:,} test images through {ways}"]
    if exact:
        lines[0] += f"; every label equal, probabilities within {verdict['largest_difference']:.1e}"
    else:
        lines[0] += (
            f"; test accuracy {verdict['accuracy']:.4f}, the run's own {source.accuracy:.4f}"
        )
    if calibration["fitted_on"]:
        before, after = (calibration[f"error_{when}"] for when in ("before", "after"))
        lines.append(
            f"probabilities are softmax(logits / {calibration['temperature']:.3f}), fitted on validation: calibration "
            f"error in {calibration['judged_on']} {before:.4f} before, {after:.4f} after"
        )
    return lines
