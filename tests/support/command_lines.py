"""A folder in which command lines of the grammar are carried out, and what must hold of each."""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import absl.logging

from epochal.app.commands.main import main
from epochal.app.process.signals import STOP
from tests.support.grammar import Line
from tests.support.sweeps import make_sweep
from tests.support.tiny_data import write_photos

_SWEEP_RESULT = {
    "schema": 1,
    "winner": "0000",
    "values": {"learning_rate": 0.1},
    "monitor": "val_accuracy",
    "validation_score": 0.9,
    "spread": 0.01,
    "validation_accuracy": 0.9,
    "test_accuracy": 0.9,
    "test_accuracy_low": 0.8,
    "test_accuracy_high": 0.95,
    "test_count": 360,
    "optimism": 0.0,
    "trials": 3,
    "completed": 3,
    "dropped": 0,
    "failed": 0,
    "lost": 0,
    "seconds": 1.5,
}
DOCUMENTED = {0, 2, 4, 5, 6, 130, 143}
# Files of a run that say who used it and when.
_TRACES = {".lock", "log.txt"}
_ANSWERED = (signal.SIGALRM, signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Outcome:
    """What a command answered, and whether it was told to stop since it took long."""

    code: int
    output: str
    errors: str
    stopped: bool
    left: set[str]


def make_folder(folder: Path, *, trained: bool) -> None:
    """Make what command lines meet: images, files that are none, runs and sweeps of all sorts.

    Args:
        trained: with a run that was trained for it, and one that was stopped.
    """
    write_photos(folder / "photos", classes=("a", "b"))
    shutil.copytree(folder / "photos/a", folder / "one_class/a")
    (folder / "noise/a").mkdir(parents=True)
    (folder / "noise/a/0.png").write_bytes(b"\x89PNG\r\n\x1a\nnoise")
    (folder / "noise/b").mkdir()
    for name in ("empty", "runs/empty_run", "runs/foreign", "saved_models/foreign/1"):
        (folder / name).mkdir(parents=True)
    (folder / "text.txt").write_text("a text of some length\n")
    (folder / "link").symlink_to("photos")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "runs/foreign/config.yaml").write_text("services: [web]\n")
    (folder / "runs/half").mkdir()
    (folder / "runs/half/config.yaml").write_text("model: softmax\nepochs: 1\n")
    (folder / "saved_models/foreign/1/saved_model.pb").write_bytes(b"nothing")
    make_sweep(folder / "sweeps/good", trials=3)
    shutil.copytree(folder / "sweeps/good", folder / "sweeps/done")
    (folder / "sweeps/done/result.json").write_text(json.dumps(_SWEEP_RESULT))
    if trained:
        with contextlib.chdir(folder):
            _make_run()


def _make_run() -> None:
    """Make a finished run in this folder, and one that was stopped before its end was written."""
    words = ["train", "--model", "softmax", "--epochs", "1", "--batch-size", "128"]
    assert main([*words, "--name", "good"]) == 0
    shutil.copytree("runs/good", "runs/stopped")
    for name in ("result.json", "report.html"):
        Path("runs/stopped", name).unlink()


def carry_out(line: Line, seconds: float = 20) -> Outcome:
    """Run a line in this process and folder, then put the folder back as it was."""
    before = _listing()
    for name, text in line.files.items():
        Path(name).write_text(text)
    odd = _make_odd(line)
    begun = _listing()
    # A server's set-up of logging closes this handler, which then closes its stream unless that is
    # one of the process's own: pytest's is not.
    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__
    output = io.StringIO()
    errors = io.StringIO()
    alarm = _Alarm()
    with (
        _environment(line),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        alarm.set(seconds),
    ):
        try:
            code = main(list(line.words))
        except SystemExit as end:  # as --help ends
            code = int(end.code or 0)
    left = _listing() - begun
    for folder in odd:
        shutil.rmtree(folder, ignore_errors=True)
    for name in _listing() - before:
        _remove(Path(name))
    return Outcome(code, output.getvalue(), errors.getvalue(), alarm.rang, left)


def check(line: Line, outcome: Outcome) -> None:
    """Check what holds of every line."""
    code = outcome.code
    errors = outcome.errors
    assert code in DOCUMENTED, f"exit code {code} of {line.words}:\n{errors}"
    # Python shows an interrupt that came while it called a destructor.
    assert outcome.stopped or "Traceback" not in errors
    assert code != 130 or outcome.stopped
    if code in (2, 4, 5, 6):
        last = errors.splitlines()[-1]
        assert last.startswith("error: "), errors
    if code == 2:
        traces = {name for name in outcome.left if Path(name).name in _TRACES}
        assert outcome.left <= traces, (line.words, outcome.left, errors)


class _Alarm:
    """Ctrl-C after some seconds, as a command is sent it that takes long."""

    rang = False

    @contextlib.contextmanager
    def set(self, seconds: float) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in _ANSWERED}
        STOP.install()
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)
            STOP.exit_code = 0

    def _ring(self, *_: object) -> None:
        self.rang = True
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _environment(line: Line) -> Iterator[None]:
    kept = dict(os.environ)
    for name, value in line.variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _listing() -> set[str]:
    """Return all paths below this folder."""
    names = set()
    for folder, folders, files in os.walk("."):
        names |= {os.path.join(folder, name) for name in (*folders, *files)}
    return names


def _make_odd(line: Line) -> list[Path]:
    """Copy every folder that the line needs as `NAME-odd`, and change one file in the copy."""
    odd_folders = []
    for good in Path().glob("*/*"):
        odd = good.with_name(f"{good.name}-odd")
        if not any(odd.name in word for word in (*line.words, *line.files.values())):
            continue
        shutil.copytree(good, odd)
        odd_folders.append(odd)
        number, content = line.damage
        files = sorted(path for path in odd.rglob("*") if path.is_file())
        changed = files[number % len(files)]
        if content is None:
            changed.unlink()
        elif isinstance(content, bytes):
            changed.write_bytes(content)
        elif changed.suffix == ".json":
            values = json.loads(changed.read_bytes())
            _replace_leaf(values, *content)
            changed.write_text(json.dumps(values))
    return odd_folders


def _replace_leaf(values: Any, number: int, value: Any) -> None:
    """Put a value in the place of one of those in nested lists and dictionaries."""
    places: list[tuple[Any, Any]] = []
    waiting = [values]
    while waiting:
        node = waiting.pop()
        keys = node if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    node, key = places[number % len(places)]
    node[key] = value


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
