"""A machine on which nothing is writable: what needs no file works all the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.paths import ROOT
from tests.support.program import epochal

# Real mounts, which refuse root, too, in a name space of their own; runs/ stays writable.
MOUNTS = """
if [ -d runs ]; then mount --bind runs runs || exit 98; fi
for place in "$PWD" "$HOME" /tmp /var/tmp /usr/tmp /dev/shm; do
    if [ -d "$place" ]; then
        mount --rbind "$place" "$place" && mount -o remount,bind,ro "$place" || exit 98
    fi
done
cd "$PWD" || exit 98
if touch written 2>/dev/null || touch /tmp/written 2>/dev/null; then exit 98; fi
exec "$@"
"""
IMPORT = """
from epochal.app.process.tensorflow_import import import_tensorflow

import_tensorflow(verbose=False)
import keras, sklearn.metrics
print(keras.backend.backend())
"""
SERVE = """
from pathlib import Path
from tests.support.servers import started

with started(Path("saved_models/r").absolute()) as server:
    print(server.ask("GET", "/v2/health/ready"))
"""


def read_only(arguments: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run Python in `folder`, where neither that nor any place for temporary files is writable."""
    if shutil.which("unshare") is None:
        pytest.skip("this system has no name spaces")
    variables = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", MOUNTS, "sh", sys.executable, "-P", *arguments],
        cwd=folder,
        env=variables | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 98 or done.stderr.startswith("unshare"):
        pytest.skip("this system lets its users mount nothing")
    return done


def test_tensorflow_is_imported_in_silence(tmp_path: Path) -> None:
    done = read_only(["-c", IMPORT], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "tensorflow\n", "")


@pytest.mark.slow
def test_runs_are_tried_asked_and_served(tmp_path: Path) -> None:
    flags = ["--model", "softmax", "--epochs", "1", "--name", "r"]
    trained = epochal(["train", *flags, "--export"], tmp_path)
    assert trained.returncode == 0, trained.stderr
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    predicted = read_only(["-m", "epochal", "predict", "runs/r", "a.png"], tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert predicted.stdout.startswith("a.png: ")
    evaluated = read_only(["-m", "epochal", "evaluate", "runs/r"], tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert evaluated.stderr.count("is not counted") == 1
    dry = read_only(["-m", "epochal", "train", "--dry-run", "--model", "resnet8"], tmp_path)
    assert dry.returncode == 0, dry.stderr
    served = read_only(["-c", SERVE], tmp_path)
    assert served.stdout == "(200, {'ready': True})\n", served.stderr
