"""Standard streams that are closed, narrow, or that nobody reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from epochal.app.commands.main import main
from epochal.app.data.sources.tfds import find
from epochal.app.errors import UsageError

TRAIN = f"{sys.executable} -P -m epochal train --model softmax --epochs 1 --name r"
SHOW = """
from epochal.app.process.standard_streams import prepare_streams

prepare_streams()
print("日本 👩‍👩‍👧")
"""


@pytest.mark.parametrize(
    "redirected",
    [
        "2>&1 | head -1",
        pytest.param("2>&-", marks=pytest.mark.slow),
        pytest.param("<&- >&- 2>&-", marks=pytest.mark.slow),
    ],
)
def test_training_goes_on_when_nobody_reads(tmp_path: Path, redirected: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{TRAIN} {redirected}; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/r/result.json").exists()
    assert "finished" in (tmp_path / "runs/r/log.txt").read_text()


def test_a_terminal_shows_what_it_can() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "日本 👩‍👩‍👧".encode("ascii", "backslashreplace").decode() + "\n"


def test_an_argument_that_is_not_utf_8_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--dataset", os.fsdecode(b"./photos\xff")]) == 2
    assert r"'./photos\udcff' is not valid UTF-8" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_data_is_looked_for_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with an arbitrary user id."""

    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(UsageError, match="mnist' is not prepared under ~/tensorflow_datasets"):
        find("mnist", None)
