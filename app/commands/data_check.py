"""`epochal data check`: what is wrong with a data set, looked at image by image."""

import json
import os
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from epochal.app.commands.arguments import (
    TRAIN_FLAGS,
    add_dataset,
    add_settings,
    given_settings,
    resolve_config,
    take_dataset,
)
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.store import runs
from epochal.app.store.files import write_json
from epochal.app.store.run import Run

_DESCRIPTION = """\
Looks at every image of a data set once and tells what is wrong: files that cannot be used, equal
and nearly equal pictures, above all across splits, classes of few images or of names that look
alike, odd sizes; with --run, the labels that are likely wrong.

  epochal data check path/to/folder --html audit.html
  epochal data check cifar10 --json audit.json
  epochal train --dataset path/to/folder --data.image-record true --name first
  epochal data check path/to/folder --run first

Splits are those that `epochal train` would make: with the seed and the settings data.* given here,
or those of the run. And every option of `epochal train` that makes a configuration.
"""
_SECONDS = 2.0  # between two lines of progress


def make_parser() -> Parser:
    """Return the parser of `epochal data check`: its own options and a flag for each setting."""
    parser = Parser("epochal data check", _DESCRIPTION, foreign=TRAIN_FLAGS)
    add_dataset(parser)
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="a run on this data set with --data.image-record true: its suspects, and its splits",
    )
    parser.add_argument("--json", metavar="FILE", help="write JSON; - prints it instead of words")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with pictures")
    add_settings(parser, in_help=False)
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    _check_places(arguments)
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    finished = None
    if arguments.run is not None:
        finished = runs.find(arguments.run)
    config = check_data(_config(arguments, finished))
    say(f"epochal data check: {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.data.audit.audit import audit
    from epochal.app.data.audit.labels import ImageRecord
    from epochal.app.data.audit.survey import survey
    from epochal.app.data.audit.words import table, values
    from epochal.app.evaluation.audit_page import write_audit_page

    record = None
    if finished is not None:
        record = ImageRecord.read(finished.image_record)
    progress = _progress()
    looked_at = survey(config, lambda done, count: progress("images", done, count))
    found = audit(config, looked_at, record, progress)
    if arguments.html is not None:
        write_audit_page(arguments.html, found)
        say(f"page: {arguments.html}")
    if arguments.json == "-":
        print(json.dumps(values(found), indent=2))
        return 0
    if arguments.json is not None:
        write_json(Path(arguments.json), values(found))
        say(f"JSON: {arguments.json}")
    print("\n".join(table(found)))
    return 0


def _check_places(arguments: Namespace) -> None:
    """Refuse files that exist or have no folder, before any work is done."""
    places = []
    if arguments.json not in (None, "-"):
        places.append(("--json", Path(arguments.json)))
    if arguments.html is not None:
        places.append(("--html", arguments.html))
    for flag, path in places:
        if os.path.lexists(path):
            raise UsageError(f"{flag} {path}: exists already and is not overwritten; give another")
        if not path.parent.is_dir():
            raise UsageError(f"{flag} {path}: there is no folder {path.parent}; make it first")


def _config(arguments: Namespace, finished: Run | None) -> Config:
    """Return the configuration whose splits count: that of the run, or what was given."""
    if finished is None:
        take_dataset(arguments)
        return resolve_config(arguments)
    if given_settings(arguments) or arguments.recipe or arguments.config:
        raise UsageError("--run: the splits are those of the run; drop the other settings")
    if not finished.image_record.exists():
        raise UsageError(
            f"{finished.folder} has no record of its training images; train it again with "
            "--data.image-record true"
        )
    return replace(finished.config(), dataset=arguments.first)


def _progress() -> Callable[[str, int, int], None]:
    """Return what tells on stderr how far a part of the work is, every few seconds."""
    last = time.monotonic()

    def tell(part: str, done: int, steps: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS:
            last = now
            say(f"{part}: {done / steps:.0%}")

    return tell
