"""`epochal doctor`: whether a training is set up well, and what it will take, before it begins."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from epochal.app.commands.arguments import split_arguments
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.data.availability import check_data
from epochal.app.errors import TrainingFailed

if TYPE_CHECKING:
    from epochal.app.doctor import Examined

HELP = """\
Checks a training before it begins, a line for each check, and stores nothing.

  epochal doctor --dataset mnist --model lenet5
  epochal doctor --recipe cifar10-resnet20 -v

Every option of `epochal train` that makes a configuration; --json prints JSON; -v tells the seconds of each check.
Answers with exit code 5 when a check failed; a warning is none.
"""
_WORDS = {"ok": "ok", "skipped": "skip", "warning": "WARN", "error": "FAIL"}


def run(words: list[str], verbosity: int) -> int:
    """Parses, calls, prints; returns the exit code."""
    if {"-h", "--help"} & set(words):
        print(HELP, end="")
        return 0
    parser = Parser(prog="epochal doctor", add_help=False)
    parser.add_argument("--json", action="store_true")
    asked, config = split_arguments(parser, words)
    config = check_data(config)
    say(f"epochal doctor: {config.model} on {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    if (
        verbosity < 2
    ):  # TensorFlow warns of functions that are traced again, as those of every copy of the model are
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    examined = []
    for one in _examined(config):
        examined.append(one)
        if not asked.json:
            print(_line(one, timed=verbosity > 0), flush=True)
    if asked.json:
        print(json.dumps([asdict(one) for one in examined]))
    failed = [one.check for one in examined if one.level == "error"]
    if failed:
        raise TrainingFailed(f"{len(failed)} of {len(examined)} checks failed: {', '.join(failed)}")
    return 0


def _examined(config: Config) -> Iterator["Examined"]:
    from epochal.app.doctor import examine
    from epochal.app.training.run.setup import set_up, start

    setup = set_up(config)
    start(setup)
    return examine(setup)


def _line(one: "Examined", *, timed: bool) -> str:
    """Level, name and what was found, in columns."""
    seconds = f"{one.seconds:5.1f} s  " if timed else ""
    return f"{_WORDS[one.level]:4}  {one.check:13}  {seconds}{one.text}"
