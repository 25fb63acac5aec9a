"""Parity of an exported model with its run, checked in a process that knows nothing of epochal."""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from epochal.app.errors import StorageError
from epochal.app.export import parity_program
from epochal.app.export.parity_program import Parity
from epochal.app.export.reference_answers import ReferenceAnswers
from epochal.app.store.export import Export


def check_parity(
    export: Export,
    reference: ReferenceAnswers,
    tolerance: float = math.inf,
    timed: Sequence[int] = (),
) -> Parity:
    """Compare the answers of an exported model, asked in a process of its own, with the reference.

    Args:
        export: the model.
        reference: images, and the answers for them.
        tolerance: of a probability, and of a feature relative to the largest.
        timed: batch sizes to time the first signature with; it alone is asked then.

    Raises:
        StorageError: the model cannot be loaded and asked there.
    """
    with tempfile.TemporaryDirectory() as temporary:
        reference.save(Path(temporary))
        sizes = ",".join(str(size) for size in timed)
        command = [sys.executable, "-EP", parity_program.__file__]
        command += [str(export.model), temporary, str(tolerance), sizes]
        done = subprocess.run(  # noqa: S603 our own program
            command,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = "no message"
        if lines:
            reason = lines[-1][:150]
        raise StorageError(
            f"the exported model cannot be loaded and asked: {reason}; not published"
        )
    last_line = done.stdout.splitlines()[-1]
    return Parity(**json.loads(last_line))
