"""`epochal doctor`: the checks of a training before it begins, and what it will take."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from epochal.app.commands.arguments import TRAIN_FLAGS, add_settings, resolve_config
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.errors import TrainingFailed

if TYPE_CHECKING:
    from epochal.app.doctor import CheckResult

_DESCRIPTION = """\
Checks a training before it begins, a line for each check, and stores nothing.

  epochal doctor --dataset mnist --model lenet5
  epochal doctor --recipe cifar10-resnet20 -v

-v tells the seconds of each check. Answers with exit code 5 when a check failed; a warning is none.
Every option of `epochal train` that makes a configuration, and:
"""
_WORDS = {"ok": "ok", "skipped": "skip", "warning": "WARN", "error": "FAIL"}


def make_parser() -> Parser:
    """Return the parser of `epochal doctor`: its own options and a flag for each setting."""
    parser = Parser("epochal doctor", _DESCRIPTION, foreign=TRAIN_FLAGS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_settings(parser, in_help=False)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    config = check_data(resolve_config(arguments))
    say(f"epochal doctor: {config.model} on {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    if verbosity < 2:
        # It warns of functions that are traced again, as those of every copy of the model are.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    checks = []
    for check in _examine(config):
        checks.append(check)
        if not arguments.json:
            print(_line(check, timed=verbosity > 0), flush=True)
    if arguments.json:
        print(json.dumps([asdict(check) for check in checks]))
    failed = [check.check for check in checks if check.level == "error"]
    if failed:
        raise TrainingFailed(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")
    return 0


def _examine(config: Config) -> Iterator["CheckResult"]:
    from epochal.app.doctor import examine
    from epochal.app.training.run.setup import set_up, start

    setup = set_up(config)
    start(setup)
    return examine(setup)


def _line(check: "CheckResult", *, timed: bool) -> str:
    """Return level, name and text of a check in columns."""
    seconds = ""
    if timed:
        seconds = f"{check.seconds:5.1f} s  "
    return f"{_WORDS[check.level]:4}  {check.check:13}  {seconds}{check.text}"
